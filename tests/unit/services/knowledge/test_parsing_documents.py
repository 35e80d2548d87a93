"""Documents are cut at their headings."""

from quantum_suite.services.knowledge.parsing.documents import SECTION_CHARS
from quantum_suite.services.knowledge.parsing.parse_file import parse_file

GUIDE = """Before any heading.

# Guide #

Welcome.

## Install

```sh
# no heading
pip install it
```

Underlined
----------

More.

# Reference
"""


def test_markdown_is_cut_at_its_headings() -> None:
    parsed = parse_file("docs/guide.md", "markdown", GUIDE.encode())
    assert [(chunk.kind, chunk.qualified_name, chunk.start_line) for chunk in parsed.chunks] == [
        ("text", "guide.md", 1),
        ("section", "Guide", 3),
        ("section", "Guide > Install", 7),
        ("section", "Guide > Underlined", 14),
        ("section", "Reference", 19),
    ]
    assert "# no heading" in parsed.chunks[2].text


def test_restructured_text_has_levels_in_the_order_they_come_up() -> None:
    text = "Title\n=====\n\nOne.\n\nPart\n----\n\nTwo.\n\nOther\n=====\n\nThree.\n"
    parsed = parse_file("a.rst", "text", text.encode())
    assert [chunk.qualified_name for chunk in parsed.chunks] == ["Title", "Title > Part", "Other"]


def test_plain_text_is_cut_at_its_paragraphs() -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "Words. " * 60 for number in range(20))
    parsed = parse_file("notes.txt", "text", text.encode())
    assert len(parsed.chunks) > 2
    assert all(len(chunk.text) <= SECTION_CHARS for chunk in parsed.chunks)
    assert all(chunk.text.startswith("Paragraph") for chunk in parsed.chunks)
    assert sum(chunk.text.count("Paragraph") for chunk in parsed.chunks) == 20


def test_an_empty_document_has_no_sections() -> None:
    assert parse_file("a.md", "markdown", b"\n\n").chunks == ()
    assert parse_file("a.md", "markdown", b"").chunks == ()
