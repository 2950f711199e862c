"""Engines, a keeper and agents that do what a test says, held against a model of what they promise."""
