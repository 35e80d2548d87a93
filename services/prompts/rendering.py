"""Fills templates in: every value is checked, and none is read as a template again."""

import re
from collections.abc import Mapping
from string import Template
from typing import Any

from quantum_suite.core.errors import CallerError
from quantum_suite.services.prompts.interface import (
    ChoiceVariable,
    IntegerVariable,
    LineVariable,
    ListVariable,
    PromptTemplate,
    RenderedPrompt,
    TextVariable,
    Variable,
)

_FENCES = re.compile(r"`{3,}")
_BLANK_LINES = re.compile(r"\n{3,}")


class _Braced(Template):
    """`${name}` alone: a bare $name is text, as in code."""

    idpattern = r"(?!)"
    braceidpattern = r"[a-z][a-z0-9_]*"


def names_in(template: PromptTemplate) -> set[str]:
    """Return the variables a text uses; raises ValueError for a `$` that is neither `${name}` nor `$$`."""
    text = _Braced(template.text)
    if not text.is_valid():
        raise ValueError("a $ that is neither ${name} nor $$")
    return set(text.get_identifiers())


def render(template: PromptTemplate, values: Mapping[str, Any]) -> RenderedPrompt:
    """Return the template with `values` filled in. Raises CallerError naming the variable that does not fit."""
    for name in values:
        if name not in template.variables:
            known = ", ".join(template.variables) or "none"
            raise CallerError(f"{template.name} has no variable '{name}'.", f"It takes {known}.", argument=name)
    filled = {name: _filled(name, variable, values.get(name)) for name, variable in template.variables.items()}
    text = _BLANK_LINES.sub("\n\n", _Braced(template.text).substitute(_marked(filled)))
    for name, value in filled.items():
        text = text.replace(_mark(name), value)
    return RenderedPrompt(template.name, template.version, text.strip() + "\n")


def _marked(filled: Mapping[str, str]) -> dict[str, str]:
    """Return marks for what is filled in, so that tidying the template leaves values as they are."""
    return {name: _mark(name) if value else "(none)" for name, value in filled.items()}


def _mark(name: str) -> str:
    return f"\x00{name}\x00"


def _filled(name: str, variable: Variable, value: Any) -> str:
    if value is None or value in ("", [], ()):
        if variable.required:
            raise CallerError(f"'{name}' is missing.", variable.description, argument=name)
        return ""
    text = _checked(name, variable, value)
    if "\x00" in text:
        raise CallerError(f"'{name}' holds a zero byte.", "Leave it out.", argument=name)
    return text


def _checked(name: str, variable: Variable, value: Any) -> str:
    if isinstance(variable, IntegerVariable):
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(name, "must be a whole number")
        if not variable.minimum <= value <= variable.maximum:
            raise _wrong(name, f"must be from {variable.minimum} to {variable.maximum}")
        return str(value)
    if isinstance(variable, ListVariable):
        return _listed(name, variable, value)
    if not isinstance(value, str):
        raise _wrong(name, "must be text")
    if isinstance(variable, ChoiceVariable):
        if value not in variable.choices:
            raise _wrong(name, f"must be one of {', '.join(variable.choices)}")
        return value
    if isinstance(variable, LineVariable) and len(value.strip().splitlines()) > 1:
        raise _wrong(name, "must be one line")
    if len(value) > variable.max_characters:
        raise _wrong(name, f"has {len(value)} characters, {variable.max_characters} is the most")
    return _quoted(value) if isinstance(variable, TextVariable) and variable.quoted else value.strip("\r\n")


def _listed(name: str, variable: ListVariable, value: Any) -> str:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, "must be a list of texts")
    if len(value) > variable.max_items:
        raise _wrong(name, f"has {len(value)} points, {variable.max_items} is the most")
    longest = max(map(len, value))
    if longest > variable.max_characters:
        raise _wrong(name, f"has a point of {longest} characters, {variable.max_characters} is the most")
    # A point keeps its further lines below it, so that none of them looks like a point of its own.
    return "\n".join("- " + "\n  ".join(item.strip().splitlines()) for item in value)


def _quoted(value: str) -> str:
    longest = max((len(found) for found in _FENCES.findall(value)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{value.strip(chr(10))}\n{fence}"


def _wrong(name: str, what: str) -> CallerError:
    return CallerError(f"'{name}' {what}.", argument=name)
