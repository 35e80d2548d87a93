"""JSON as people write it: comments (`//`, `/* */`) and trailing commas, read with positions and edited in place.

Reading follows RFC 8259 besides those two. Editing changes the text of one member or item and leaves every other
byte as it was, comments and indentation included.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)+", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_MAX_DEPTH = 100


class JsoncError(ValueError):
    """The text is not JSON; `line` and `column` count from 1."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.problem = problem
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands: `text[start:end]`."""

    start: int
    end: int
    content: "dict[str, Member] | list[Node] | str | int | float | bool | None"

    def plain(self) -> Any:
        """Return the value as plain Python."""
        if isinstance(self.content, dict):
            return {name: member.value.plain() for name, member in self.content.items()}
        if isinstance(self.content, list):
            return [item.plain() for item in self.content]
        return self.content


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object: where its name starts, and its value."""

    start: int
    value: Node


def locate(text: str, offset: int) -> tuple[int, int]:
    """Return the line and column of an offset, both counted from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def parse(text: str) -> Node:
    """Read one value; raises JsoncError at the first thing that is wrong."""
    reader = _Reader(text)
    at = reader.blank(1 if text.startswith("\ufeff") else 0)
    node = reader.value(at, 0)
    rest = reader.blank(node.end)
    if rest != len(text):
        raise reader.error("nothing more is expected after the end of the value", rest)
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, problem: str, at: int) -> JsoncError:
        return JsoncError(problem, *locate(self.text, at))

    def blank(self, at: int) -> int:
        match = _BLANK.match(self.text, at)
        end = match.end() if match else at
        if self.text.startswith("/*", end):
            raise self.error("a comment is not closed with */", end)
        return end

    def value(self, at: int, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self.error(f"values are nested deeper than {_MAX_DEPTH}", at)
        first = self.text[at : at + 1]
        if first == "{":
            return self.object(at, depth)
        if first == "[":
            return self.array(at, depth)
        if first == '"':
            return self.string(at)
        for word, meaning in _WORDS.items():
            if self.text.startswith(word, at):
                return Node(at, at + len(word), meaning)
        if number := _NUMBER.match(self.text, at):
            literal = number.group()
            whole = literal.lstrip("-").isdigit()
            return Node(at, number.end(), int(literal) if whole else float(literal))
        raise self.error("a value is expected here" if first else "the text ends where a value is expected", at)

    def string(self, at: int) -> Node:
        match = _STRING.match(self.text, at)
        if match is None:
            raise self.error("a string is not closed, or holds an unescaped control character or backslash", at)
        return Node(at, match.end(), json.loads(match.group()))

    def object(self, start: int, depth: int) -> Node:
        members: dict[str, Member] = {}
        at = self.blank(start + 1)
        while not self.text.startswith("}", at):
            if not self.text.startswith('"', at):
                raise self.error('a name in double quotes or "}" is expected here', at)
            name = self.string(at)
            colon = self.blank(name.end)
            if not self.text.startswith(":", colon):
                raise self.error('":" is expected after a name', colon)
            value = self.value(self.blank(colon + 1), depth + 1)
            if str(name.content) in members:
                raise self.error(f'the name "{name.content}" is there twice', at)
            members[str(name.content)] = Member(at, value)
            at = self.next_item(value.end, "}")
        return Node(start, at + 1, members)

    def array(self, start: int, depth: int) -> Node:
        items: list[Node] = []
        at = self.blank(start + 1)
        while not self.text.startswith("]", at):
            item = self.value(at, depth + 1)
            items.append(item)
            at = self.next_item(item.end, "]")
        return Node(start, at + 1, items)

    def next_item(self, end: int, close: str) -> int:
        at = self.blank(end)
        if self.text.startswith(",", at):
            return self.blank(at + 1)
        if not self.text.startswith(close, at):
            raise self.error(f'"," or "{close}" is expected here', at)
        return at


def set_member(text: str, path: tuple[str, ...], value: Any) -> str:
    """Return `text` with the member at `path` set to `value`; missing objects on the way are made.

    Text of blanks and comments alone counts as an empty object. Raises JsoncError for broken text and
    TypeError when something on the way is no object.
    """
    if not text.strip("\ufeff \t\r\n"):
        text = "{}\n"
    node = parse(text)
    for depth, name in enumerate(path):
        members = _members(node, path[:depth])
        rest = path[depth + 1 :]
        if name not in members:
            for outer in reversed(rest):
                value = {outer: value}
            return _insert(text, node, f"{json.dumps(name)}: ", value)
        if not rest:
            old = members[name]
            return text[: old.value.start] + _render(text, value, old.start) + text[old.value.end :]
        node = members[name].value
    raise ValueError("a path names at least one member")


def append_item(text: str, path: tuple[str, ...], value: Any) -> str:
    """Return `text` with `value` added to the end of the array at `path`, which is made when missing."""
    node: Node | None = parse(text) if text.strip("\ufeff \t\r\n") else None
    for depth, name in enumerate(path):
        member = _members(node, path[:depth]).get(name) if node else None
        node = member.value if member else None
    if node is None:
        return set_member(text, path, [value])
    if not isinstance(node.content, list):
        raise TypeError(f"{'.'.join(path)} is no array")
    return _insert(text, node, "", value)


def remove_member(text: str, path: tuple[str, ...]) -> str:
    """Return `text` without the member at `path`; the same text when it is not there."""
    node = parse(text)
    for depth, name in enumerate(path[:-1]):
        member = _members(node, path[:depth]).get(name)
        if member is None:
            return text
        node = member.value
    members = _members(node, path[:-1])
    if path[-1] not in members:
        return text
    names = list(members)
    index = names.index(path[-1])
    start, end = members[path[-1]].start, members[path[-1]].value.end
    comma = _comma(text, end)
    if comma is not None:
        end = comma + 1
    elif index:
        # The last member takes the comma before it along, but no comment that stands between the two.
        before = _comma(text, members[names[index - 1]].value.end)
        if before is not None:
            text = text[:before] + text[before + 1 :]
            start, end = start - 1, end - 1
    line_start = text.rfind("\n", 0, start) + 1
    if not text[line_start:start].strip() and text[end : end + 1] in ("\n", "\r", ""):
        start = max(line_start - 1, 0)
        if text[start - 1 : start] == "\r":
            start -= 1
    elif index:
        start = len(text[:start].rstrip(" \t"))
    else:
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    return text[:start] + text[end:]


def _members(node: Node, path: tuple[str, ...]) -> dict[str, Member]:
    if not isinstance(node.content, dict):
        raise TypeError(f"{'.'.join(path) or 'the file'} is no object")
    return node.content


def _comma(text: str, end: int) -> int | None:
    match = _BLANK.match(text, end)
    at = match.end() if match else end
    return at if text.startswith(",", at) else None


def _insert(text: str, container: Node, label: str, value: Any) -> str:
    children = container.content
    last: int | None = None
    if isinstance(children, dict) and children:
        last = max(member.value.end for member in children.values())
        first = min(member.start for member in children.values())
    elif isinstance(children, list) and children:
        last, first = children[-1].end, children[0].start
    newline = _newline(text)
    if last is None:
        outer = _indent(text, container.start)
        inner = outer + _step(text)
        body = label + _dump(value, text, inner)
        close = container.end - 1
        kept = text[container.start + 1 : close].rstrip()
        return f"{text[: container.start + 1]}{kept}{newline}{inner}{body}{newline}{outer}{text[close:]}"
    if "\n" not in text[container.start : first]:
        comma = _comma(text, last)
        at, lead = (last, ", ") if comma is None else (comma + 1, " ")
        return text[:at] + lead + label + json.dumps(value, ensure_ascii=False) + text[at:]
    inner = _indent(text, first)
    body = label + _dump(value, text, inner)
    comma = _comma(text, last)
    if comma is None:
        line_end = _end_of_comment(text, last)
        return f"{text[:last]},{text[last:line_end]}{newline}{inner}{body}{text[line_end:]}"
    line_end = _end_of_comment(text, comma + 1)
    return f"{text[:line_end]}{newline}{inner}{body}{text[line_end:]}"


def _end_of_comment(text: str, at: int) -> int:
    """Return where the comment that trails on the same line ends, else `at`."""
    match = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/)").match(text, at)
    return match.end() if match else at


def _render(text: str, value: Any, at: int) -> str:
    return _dump(value, text, _indent(text, at))


def _dump(value: Any, text: str, indent: str) -> str:
    lines = json.dumps(value, indent=_step(text), ensure_ascii=False).split("\n")
    return (_newline(text) + indent).join(lines)


def _indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _step(text: str) -> str:
    match = re.search(r"\n([ \t]+)\S", text)
    return match.group(1) if match else "  "


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
