"""The bus: tells those who listen that something happened."""
