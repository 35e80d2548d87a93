"""The index of one workspace: a SQLite file with its files, chunks, words, symbols and uses of names."""
