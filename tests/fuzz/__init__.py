"""Fuzzing: bytes of any kind for what reads the bytes of others; what was found is kept in ``finds``."""
