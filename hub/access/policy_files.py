"""Reads the Cedar policies: the suite's own, shipped beside this file, and the operator's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cedarpy

from quantum_suite.core.errors import ConfigurationError

# What a `;` may not be looked for in: string literals and comments (Cedar has line comments only).
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|;|[^";/]+|.', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Policies:
    """Everything parsed and validated; immutable."""

    policy_set: cedarpy.PolicySet
    schema: cedarpy.Schema
    sources: tuple[str, ...]
    """Where the policies came from, in the order they were read."""


def load_policies(operator_dir: Path | None = None) -> Policies:
    """Parse the shipped policies and every `*.cedar` file in `operator_dir` (which need not exist).

    Operator files add to the shipped ones: a `forbid` takes rights away, a `permit` gives more. Raises
    ConfigurationError naming the file, the line of the statement and what is wrong with it.
    """
    shipped = files("quantum_suite.hub.access") / "policies"
    schema = cedarpy.Schema.from_str((shipped / "schema.cedarschema").read_text("utf-8"))
    texts = [("roles.cedar", (shipped / "roles.cedar").read_text("utf-8"))]
    if operator_dir is not None and operator_dir.is_dir():
        texts += [(str(path), _read(path)) for path in sorted(operator_dir.glob("*.cedar"))]
    for name, text in texts:
        _validate(name, text, schema)
    policy_set = cedarpy.PolicySet.from_str("\n".join(text for _, text in texts))
    return Policies(policy_set, schema, tuple(name for name, _ in texts))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"Policy file {path} cannot be read: {error}.", "Make it readable UTF-8, or move it away."
        ) from error


def _validate(name: str, text: str, schema: cedarpy.Schema) -> None:
    """Check statement by statement first: Cedar's own messages carry no line."""
    for line, statement in _statements(text):
        if problem := _problem(statement, schema):
            raise _wrong(f"{name}, line {line}", problem)
    if problem := _problem(text, schema):
        raise _wrong(name, problem)


def _problem(text: str, schema: cedarpy.Schema) -> str | None:
    try:
        parsed = cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        return str(error)
    if parsed.templates():
        return "templates (?principal, ?resource) are not used here"
    result = cedarpy.validate_policies(text, schema)
    if result.validation_passed:
        return None
    return "; ".join(sorted(re.sub(r"^for policy `policy\d+`[,:]? *", "", e.error) for e in result.errors))


def _wrong(place: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"Policy {place}: {problem}.",
        "The actions, roles and attributes there are stand in hub/access/policies/schema.cedarschema.",
    )


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with the line its first word stands on."""
    parts: list[str] = []
    line = first = 1
    for match in _PIECE.finditer(text):
        piece = match[0]
        blank = not piece.strip() or piece.startswith("//")
        if not parts and not blank:
            first = line + piece[: len(piece) - len(piece.lstrip())].count("\n")
        if parts or not blank:
            parts.append(piece)
        line += piece.count("\n")
        if piece == ";":
            yield first, "".join(parts)
            parts = []
    if parts:
        yield first, "".join(parts)
