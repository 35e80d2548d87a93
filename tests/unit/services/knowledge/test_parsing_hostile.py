"""Files that were written to be hard to read, or happen to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.services.knowledge.interface import ParsedFile
from quantum_suite.services.knowledge.parsing.decoding import MAX_LINE_CHARS, NotText, decode
from quantum_suite.services.knowledge.parsing.languages import SPECS
from quantum_suite.services.knowledge.parsing.parse_file import parse_file
from quantum_suite.services.knowledge.parsing.pieces import MAX_CHUNK_CHARS

KEY = "AKIA" + "IOSFODNN7" + "EXAMPLE"


def names(parsed: ParsedFile) -> set[str]:
    return {symbol.qualified_name for symbol in parsed.symbols}


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("def café(): pass\n".encode(), "utf-8"),
        ("def café(): pass\n".encode("utf-8-sig"), "utf-8-sig"),
        ("def café(): pass\n".encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + "def café(): pass\n".encode("utf-16-be"), "utf-16"),
        ("def café(): pass\n".encode("utf-16-le"), "utf-16-le"),
        ("def café(): pass\n".encode("utf-16-be"), "utf-16-be"),
        ("def café(): pass\n".encode("utf-32"), "utf-32"),
        ("# -*- coding: cp1252 -*-\ndef café(): pass\n".encode("cp1252"), "cp1252"),
        ("def café(): pass\n".encode("latin-1"), "latin-1"),
        ("# -*- coding: no-such -*-\ndef café(): pass\n".encode("latin-1"), "latin-1"),
    ],
)
def test_a_file_is_read_in_its_encoding(data: bytes, encoding: str) -> None:
    assert decode(data).encoding == encoding
    assert names(parse_file("a.py", "python", data)) == {"café"}


def test_invalid_bytes_cost_themselves_alone() -> None:
    data = b"def whole(): pass\n" + bytes(range(1, 32)) * 40 + b"\xff\xfe\n"
    decoded = decode(data)
    assert decoded.encoding == "utf-8 with invalid bytes replaced"
    assert "def whole(): pass" in decoded.text


def test_lines_end_the_same_whatever_system_wrote_them() -> None:
    parsed = parse_file("a.py", "python", b"def one():\r\n    pass\r\rdef two():\r    pass\r")
    assert [(symbol.name, symbol.line) for symbol in parsed.symbols] == [("one", 1), ("two", 4)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x7fELF\0\0\0\x01\x02\x03" * 100, "binary"),
        (b"var a=1;" * (MAX_LINE_CHARS // 8 + 1), "minified"),
    ],
)
def test_what_is_no_text_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(NotText, match=reason):
        parse_file("a.js", "javascript", data)


@pytest.mark.parametrize("language", [name for name in SPECS if name != "shell"])
def test_deep_nesting_is_survived(language: str) -> None:
    deep = b"\n".join([b"(" * 100] * 200) + b"1" + b"\n".join([b")" * 100] * 200)
    parsed = parse_file("deep", language, b"x = " + deep + b"\n")
    assert parsed.path == "deep"


def test_functions_nested_in_functions_are_survived() -> None:
    source = "\n".join(f"{' ' * depth}def f{depth}():" for depth in range(180)) + f"\n{' ' * 180}pass\n"
    parsed = parse_file("a.py", "python", source.encode())
    assert len(parsed.symbols) == 180
    assert all(len(symbol.qualified_name) <= 400 for symbol in parsed.symbols)


def test_wrong_code_is_indexed_as_far_as_it_makes_sense() -> None:
    parsed = parse_file("a.py", "python", b"def good():\n    return 1\n\n)]}\n\ndef also():\n    return 2\n")
    assert parsed.errors > 0
    assert {"good", "also"} <= names(parsed)


def test_secrets_are_masked_wherever_they_stand() -> None:
    source = f'TOKEN = "{KEY}"\n\n\ndef use(key="{KEY}"):\n    """Send {KEY}."""\n    return "{KEY}"\n'
    parsed = parse_file("a.py", "python", source.encode())
    assert KEY not in repr(parsed)
    assert any("***" in chunk.text for chunk in parsed.chunks)
    assert any("***" in symbol.signature for symbol in parsed.symbols)


def test_a_key_that_spans_lines_is_masked_in_a_document() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqh\n" * 30 + "-----END PRIVATE KEY-----"
    parsed = parse_file("a.md", "markdown", f"# Keys\n\n{key}\n\n# Next\n\nMore.\n".encode())
    assert "MIIEvQIBADANBgkqh" not in repr(parsed.chunks)
    assert [chunk.name for chunk in parsed.chunks] == ["Keys", "Next"]


def test_a_long_function_becomes_chunks_that_together_are_all_of_it() -> None:
    body = "".join(f"    value_{number} = {number}\n" for number in range(2_000))
    parsed = parse_file("a.py", "python", f"def long():\n{body}    return value_1\n".encode())
    parts = [chunk for chunk in parsed.chunks if chunk.qualified_name == "long"]
    assert len(parts) > 3
    assert all(len(part.text) <= MAX_CHUNK_CHARS for part in parts)
    assert "\n".join(part.text for part in parts) == f"def long():\n{body}    return value_1"
    assert [part.start_line for part in parts][1:] == [part.end_line + 1 for part in parts][:-1]
    assert len({part.id for part in parts}) == len(parts)


def test_functions_in_a_long_function_have_chunks_of_their_own() -> None:
    inner = "".join(f"  function inner{number}() {{\n    return {number};\n  }}\n" for number in range(300))
    parsed = parse_file("a.js", "javascript", f"function outer() {{\n{inner}}}\n".encode())
    assert "outer.inner299" in {chunk.qualified_name for chunk in parsed.chunks}


def test_equal_definitions_of_a_file_are_told_apart() -> None:
    parsed = parse_file("a.py", "python", b"def same():\n    pass\n\n\ndef same():\n    pass\n")
    assert len({chunk.id for chunk in parsed.chunks}) == 2


def test_a_chunk_keeps_its_id_while_others_change() -> None:
    before = parse_file("a.py", "python", b"def kept():\n    return 1\n")
    after = parse_file("a.py", "python", b"import os\n\n\ndef kept():\n    return 1\n")
    assert before.chunks[0].id in {chunk.id for chunk in after.chunks}


@given(st.binary(max_size=300), st.sampled_from([*SPECS, "markdown", "text"]))
def test_any_bytes_are_read_or_refused(data: bytes, language: str) -> None:
    try:
        parsed = parse_file("file", language, data)
    except NotText:
        return
    assert all(chunk.start_line <= chunk.end_line for chunk in parsed.chunks)


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.sampled_from([*SPECS, "markdown", "text"]))
def test_any_text_is_read_with_every_chunk_in_its_place(text: str, language: str) -> None:
    try:
        decoded = decode(text.encode()).text
        parsed = parse_file("file", language, text.encode())
    except NotText:
        return
    lines = decoded.split("\n")
    for chunk in parsed.chunks:
        assert 1 <= chunk.start_line <= chunk.end_line <= len(lines)
    for name, line, column, _ in parsed.references:
        assert lines[line - 1].encode()[column:].startswith(name.encode())
