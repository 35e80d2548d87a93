"""The keys of data subjects: one a person, kept wrapped, erased to erase the person."""
