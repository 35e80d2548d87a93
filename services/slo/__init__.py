"""Service level objectives: read from files, turned into rules, and judged by what was measured."""
