"""Patches: unified diffs and search/replace blocks, applied exactly or refused with the reason."""
