"""What the resources over language models show."""
