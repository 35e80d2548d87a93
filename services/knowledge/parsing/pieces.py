"""What a file is taken apart into, before secrets are masked and ids are given."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from quantum_suite.core.masking import mask_text
from quantum_suite.services.knowledge.interface import Chunk, ChunkKind

MAX_CHUNK_CHARS = 8_000
"""A longer definition becomes several chunks, one after the other."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk in the making. Lines count from 1, inclusive."""

    kind: ChunkKind
    name: str
    qualified_name: str
    signature: str
    docstring: str
    start_line: int
    end_line: int
    text: str
    line_numbers: tuple[int, ...] = ()
    """The line each line of `text` has in the file, where lines were left out."""


def chunks(path: str, language: str, imports: tuple[str, ...], pieces: Iterable[Piece]) -> Iterator[Chunk]:
    """Yield the chunks of a file: bounded, secrets masked, each with an id of its own."""
    seen: dict[str, int] = {}
    for piece in pieces:
        # Masked before it is cut: a key that spans the cut would be recognised in neither part.
        masked = replace(piece, text=mask_text(piece.text))
        for part in _parts(masked):
            id_ = _chunk_id(path, part)
            seen[id_] = seen.get(id_, 0) + 1
            if seen[id_] > 1:
                id_ = _chunk_id(f"{path}\0{seen[id_]}", part)
            yield Chunk(
                id=id_,
                path=path,
                language=language,
                kind=part.kind,
                name=part.name,
                qualified_name=part.qualified_name,
                signature=mask_text(part.signature),
                docstring=mask_text(part.docstring),
                imports=imports,
                start_line=part.start_line,
                end_line=part.end_line,
                text=part.text,
            )


def _parts(piece: Piece) -> Iterator[Piece]:
    if len(piece.text) <= MAX_CHUNK_CHARS:
        yield piece
        return
    lines = piece.text.split("\n")
    numbers = piece.line_numbers or range(piece.start_line, piece.start_line + len(lines))
    # A masked value may have spanned lines; the places of those behind it are then those of the definition's end.
    number_of = [*numbers, *[piece.end_line] * len(lines)]
    first, size = 0, 0
    for position, line in enumerate(lines):
        if size + len(line) > MAX_CHUNK_CHARS and position > first:
            yield _part(piece, lines, number_of, first, position)
            first, size = position, 0
        size += len(line) + 1
    yield _part(piece, lines, number_of, first, len(lines))


def _part(piece: Piece, lines: list[str], number_of: list[int], first: int, last: int) -> Piece:
    return replace(
        piece,
        text="\n".join(lines[first:last])[: 2 * MAX_CHUNK_CHARS],
        start_line=number_of[first],
        end_line=min(number_of[last - 1], piece.end_line),
    )


def _chunk_id(path: str, piece: Piece) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in (path, piece.qualified_name, piece.kind, piece.signature, piece.docstring, piece.text):
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()
