"""Mirrors results into Session-Buddy, an MCP server that remembers for its user."""
