"""Reads JSON as models write it: in fences, with words around it, with trailing commas, cut short."""

import json
import re
from typing import Any

_FENCE = re.compile(r"```[a-zA-Z0-9]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SINGLE = re.compile(r"'[^'\\\n]*(?:\\.[^'\\\n]*)*'")
_PYTHON_WORD = re.compile(r"\b(?:True|False|None)\b")
CUT = "cut short"
"""A repair that drops something: the answer ended in the middle of it."""
UNCLOSED = "missing brackets"
MAX_CHARACTERS = 2 * 1024 * 1024


class NoJson(ValueError):
    """A text holds no JSON that could be read; the message says what is wrong with it, for the model."""


def read_json(text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the JSON in a text and what had to be mended to read it. Raises NoJson.

    Nothing is made up: what was cut off is dropped with the member it belonged to, never guessed.
    """
    if len(text) > MAX_CHARACTERS:
        raise NoJson(f"the answer is longer than {MAX_CHARACTERS} characters")
    try:
        return _strict(text), ()
    except ValueError as error:
        problem = str(error)
    repairs: list[str] = []
    fenced, begin = _FENCE.search(text), _begin(text)
    # A fence within the JSON is part of a text in it.
    if fenced is not None and fenced.start() < begin and _begin(fenced[1]) >= 0:
        text, begin = fenced[1], _begin(fenced[1])
        repairs.append("code fence")
    if begin < 0:
        raise NoJson(f"it holds no JSON object: {problem}")
    mended, more = _Mender(text, begin).mended()
    before = text[:begin].strip()
    if before:
        repairs.append("words before")
    try:
        return _strict(mended), (*repairs, *more)
    except ValueError as error:
        raise NoJson(str(error)) from error


def _begin(text: str) -> int:
    """Return where the first object or list begins; -1 where there is none."""
    return min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)


def _strict(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _Mender:
    """Walks the text once, outside strings dropping trailing commas and translating Python's words."""

    def __init__(self, text: str, begin: int) -> None:
        self._text = text
        self._at = begin
        self._out: list[str] = []
        self._open: list[str] = []
        self._safe = 0
        self._in_string = False
        self._repairs: dict[str, None] = {}

    def mended(self) -> tuple[str, tuple[str, ...]]:
        """Return the first JSON value as text that is closed, and what was mended."""
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                if not self._string():
                    break
            elif character == "'" and (match := _SINGLE.match(self._text, self._at)):
                self._single(match)
            elif self._text.startswith("//", self._at) or self._text.startswith("/*", self._at):
                self._comment()
            else:
                self._plain(character)
            if not self._open:
                if self._text[self._at :].strip():
                    self._repairs["words after"] = None
                return "".join(self._out), tuple(self._repairs)
        return self._closed(), tuple(self._repairs)

    def _string(self) -> bool:
        """Copy a string; False where the text ends in it."""
        match = _STRING.match(self._text, self._at)
        if match is None:
            self._at, self._in_string = len(self._text), True
            return False
        found = match[0]
        if any(ord(character) < 32 for character in found):
            found = found.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
            self._repairs["line breaks in strings"] = None
        self._append_string(found, match.end())
        return True

    def _single(self, match: re.Match[str]) -> None:
        """Copy a string as Python and JavaScript write it."""
        inner = match[0][1:-1].replace("\\'", "'")
        self._append_string('"' + re.sub(r'(?<!\\)((?:\\\\)*)"', r"\1\"", inner) + '"', match.end())
        self._repairs["single quotes"] = None

    def _append_string(self, found: str, end: int) -> None:
        before = next((piece for piece in reversed(self._out) if not piece.isspace() and piece), "")
        self._out.append(found)
        self._at = end
        if before == ":" or self._open[-1] == "]":
            # A value that is whole, where a number or a name might go on.
            self._safe = len(self._out)

    def _comment(self) -> None:
        line = self._text.startswith("//", self._at)
        end = self._text.find("\n" if line else "*/", self._at)
        self._at = len(self._text) if end < 0 else end + (1 if line else 2)
        self._repairs["comments"] = None

    def _plain(self, character: str) -> None:
        if character in "{[":
            self._open.append("}" if character == "{" else "]")
            self._safe = len(self._out) + 1
        elif character in "}]":
            self._drop_comma()
            if self._open:
                self._open.pop()
        elif character == ",":
            # Whatever stands before a comma is whole: here a text that was cut off can be closed.
            self._safe = len(self._out)
        elif word := _PYTHON_WORD.match(self._text, self._at):
            self._out.append(_WORDS[word[0]])
            self._at = word.end()
            self._repairs["Python words"] = None
            return
        self._out.append(character)
        self._at += 1
        if character in "}]" and self._open:
            self._safe = len(self._out)

    def _drop_comma(self) -> None:
        at = len(self._out) - 1
        while at >= 0 and self._out[at].isspace():
            at -= 1
        if at >= 0 and self._out[at] == ",":
            self._out[at] = ""
            self._repairs["trailing commas"] = None

    def _closed(self) -> str:
        kept = self._out[: self._safe]
        self._repairs[
            CUT if "".join(self._out[self._safe :]).strip(", \n\r\t") or self._in_string else UNCLOSED
        ] = None
        closing: list[str] = []
        for piece in kept:
            if piece in ("{", "["):
                closing.append("}" if piece == "{" else "]")
            elif piece in ("}", "]") and closing:
                closing.pop()
        return "".join(kept) + "".join(reversed(closing))
