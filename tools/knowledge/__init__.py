"""What the knowledge tools do: index, search, look up."""
