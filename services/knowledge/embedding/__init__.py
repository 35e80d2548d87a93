"""Text into vectors: models on this machine, and endpoints.

`vocabulary.txt` is the vocabulary of `sentence-transformers/all-MiniLM-L6-v2` (that of BERT base, uncased), under
the Apache License 2.0, unchanged. The package that ships the model's weights ships no tokenizer.
"""
