"""The stages every call passes, one file each, in one visible order."""
