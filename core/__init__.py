"""The vocabulary: no I/O, no MCP, no third-party service."""
