"""What the tools over language models do."""
