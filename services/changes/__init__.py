"""Changes that were made to workspaces: whole or not at all, and undone on request."""
