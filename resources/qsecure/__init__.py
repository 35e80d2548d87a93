"""Reports of a stored scan: SARIF, Markdown, JSON."""
