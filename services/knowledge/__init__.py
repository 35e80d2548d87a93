"""What a code base holds: definitions, documents, symbols and how they hang together, kept searchable."""
