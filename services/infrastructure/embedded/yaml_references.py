"""References in Pulumi YAML: `${bucket.arn}`, `${list[0].name}`, `${a["b c"]}`; `$${` is a literal `${`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed

_PIECE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_STEP = re.compile(r'\.?([A-Za-z_$][\w$\-]*)|\[(\d+)\]|\["([^"]*)"\]|\[\'([^\']*)\'\]')


@dataclass(frozen=True, slots=True)
class Reference:
    """What a reference names, and the way to the value below it."""

    name: str
    steps: tuple[str | int, ...] = ()
    text: str = ""


def pieces_of(text: str) -> list[str | Reference]:
    """Return a text as literal parts and references, in order; raises ProviderFailed for a broken reference."""
    pieces: list[str | Reference] = []
    end = 0
    for match in _PIECE.finditer(text):
        if match.start() > end:
            pieces.append(text[end : match.start()])
        pieces.append("${" if match.group(1) is None else _reference(match.group(1)))
        end = match.end()
    if end < len(text):
        pieces.append(text[end:])
    if any(isinstance(piece, str) and piece.replace("${", "", 1) != piece and piece != "${" for piece in pieces):
        raise ProviderFailed(f"'{text}' has a reference that is not closed.")
    return pieces


def names_in(value: Any) -> Iterator[str]:
    """Yield the names of everything a value refers to."""
    if isinstance(value, str):
        for piece in pieces_of(value):
            if isinstance(piece, Reference):
                yield piece.name
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from names_in(key)
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


def _reference(text: str) -> Reference:
    steps: list[str | int] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (position == 0 and match.group(1) is None):
            raise ProviderFailed(
                f"'${{{text}}}' is no reference; write ${{name}}, ${{name.property}} or ${{name[0]}}."
            )
        word, index, quoted, single = match.groups()
        steps.append(
            int(index) if index is not None else next(one for one in (word, quoted, single) if one is not None)
        )
        position = match.end()
    if not steps:
        raise ProviderFailed("'${}' names nothing.")
    return Reference(str(steps[0]), tuple(steps[1:]), text)
