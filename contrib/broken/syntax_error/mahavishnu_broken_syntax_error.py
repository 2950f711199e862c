"""Broken: it is not Python."""

def broken(:
