"""The fault matrix: a test a row, named by its id; see ``matrix``."""
