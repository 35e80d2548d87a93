"""Prompt templates: versioned data with declared variables, filled in without surprises."""
