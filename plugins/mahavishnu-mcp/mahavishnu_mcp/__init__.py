"""The MCP server: a frontend through which agents spawn and drive workers."""
