"""The gateway process: fronts the suite's servers and any other MCP server."""
