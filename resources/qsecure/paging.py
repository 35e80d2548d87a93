"""Long reports are read page by page, so that no answer is larger than a client should have to take."""

SARIF_PAGE = 500
"""Findings in one SARIF page: about 1 MB."""

MARKDOWN_PAGE = 100
"""Findings in one Markdown page: about 60 kB."""


def page_count(total: int, size: int) -> int:
    """Return how many pages `total` findings take; an empty report still has one."""
    return max(1, -(-total // size))
