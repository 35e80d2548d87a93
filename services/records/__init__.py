"""Records of what was done, kept in files: one folder a record with what belongs to it, or one file a record."""
