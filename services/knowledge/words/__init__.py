"""Search by words: how text becomes words, and how a question does."""
