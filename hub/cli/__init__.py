"""The quantum command.

`commands/` declares what people type and imports nothing heavy; what a command does is imported inside its
function, when it is run, so that `quantum --help`, `version` and shell completion answer at once.
"""
