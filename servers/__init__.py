"""One package a module: what it offers, as an MCP server."""
