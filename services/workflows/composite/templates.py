"""JSON with expressions in it: `path: ${{ inputs.path }}`, `title: "Scan of ${{ inputs.path }}"`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quantum_suite.services.workflows.composite.expressions import Expression, parse_expression
from quantum_suite.services.workflows.composite.functions import MAX_TEXT, BadExpression, as_text
from quantum_suite.services.workflows.interface import Json
from quantum_suite.services.yaml_nodes import Node, Problem

MAX_VALUES = 200_000
MAX_CHARACTERS = 8 * 1024 * 1024
"""The most that a value made from a template may hold, counted as it would be written out."""

_PART = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Template:
    """A value with its expressions, ready to be filled in; made by `read_template`."""

    node: Node
    value: "Json | Expression | Text | dict[str, Template] | list[Template]"

    def render(self, scope: Mapping[str, Json]) -> Json:
        """Fill it in; raises BadExpression with the place of what cannot be worked out or becomes too large."""
        rendered = self._render(scope)
        _measure(rendered, self.node)
        return rendered

    def expressions(self) -> "Iterator[tuple[Node, Expression]]":
        """Yield every expression in it with its place."""
        match self.value:
            case Expression():
                yield self.node, self.value
            case Text(parts):
                yield from ((self.node, part) for part in parts if isinstance(part, Expression))
            case dict():
                for inner in self.value.values():
                    yield from inner.expressions()
            case list():
                for inner in self.value:
                    yield from inner.expressions()

    @property
    def fixed(self) -> bool:
        """Whether there is no expression in it."""
        return next(self.expressions(), None) is None

    def _render(self, scope: Mapping[str, Json]) -> Json:
        value = self.value
        if isinstance(value, dict):
            return {key: inner._render(scope) for key, inner in value.items()}
        if isinstance(value, list):
            return [inner._render(scope) for inner in value]
        if not isinstance(value, Expression | Text):
            return value
        try:
            return value.evaluate(scope)
        except BadExpression as error:
            place = f"{self.node.path} (line {self.node.line}, column {self.node.column})"
            raise BadExpression(f"{place}: {error.message}", error.hint) from error


@dataclass(frozen=True, slots=True)
class Text:
    """Text with expressions in it: what they give is written out."""

    parts: tuple[str | Expression, ...]

    def evaluate(self, scope: Mapping[str, Json]) -> str:
        """Write it out; raises BadExpression."""
        written: list[str] = []
        room = MAX_TEXT
        for part in self.parts:
            text = part if isinstance(part, str) else as_text(part.evaluate(scope))
            room -= len(text)
            if room < 0:
                raise BadExpression(f"The text is longer than {MAX_TEXT} characters.")
            written.append(text)
        return "".join(written)


def read_template(node: Node, problems: list[Problem], *, bare: bool = False) -> Template:
    """Read a value; what is wrong with its expressions is added to `problems`, each at its place.

    With `bare`, a string without `${{ }}` is an expression itself (`when: inputs.deep`).
    """
    value = node.value
    if isinstance(value, dict):
        return Template(node, {key: read_template(inner, problems) for key, inner in value.items()})
    if isinstance(value, list):
        return Template(node, [read_template(inner, problems) for inner in value])
    if not isinstance(value, str):
        return Template(node, value)
    if bare and "${{" not in value:
        value = f"${{{{{value}}}}}"
    try:
        return Template(node, _read_text(value))
    except BadExpression as error:
        problems.append(node.problem(error.message, error.hint))
        return Template(node, None)


def _read_text(text: str) -> str | Expression | Text:
    parts: list[str | Expression] = []
    end = 0
    for match in _PART.finditer(text):
        if match.start() > end:
            parts.append(text[end : match.start()])
        parts.append(parse_expression(match[1]))
        end = match.end()
    rest = text[end:]
    if "${{" in rest:
        raise BadExpression("An expression that begins with ${{ does not end.", "End it with }}.")
    if not parts:
        return text
    if rest:
        parts.append(rest)
    only = parts[0]
    return only if len(parts) == 1 and isinstance(only, Expression) else Text(tuple(parts))


def _measure(value: Json, node: Node) -> None:
    """Refuse what is large when written out, however small in memory (the same list a thousand times)."""
    values = characters = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        values += 1
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, Mapping):
            characters += sum(map(len, item))
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        if values + len(waiting) > MAX_VALUES or characters > MAX_CHARACTERS:
            raise BadExpression(
                f"{node.path} (line {node.line}): The value becomes too large.", "Take less of it."
            )
