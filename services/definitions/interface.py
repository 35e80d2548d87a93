"""The port to the store of definitions: composite workflows as their authors wrote them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from quantum_suite.core.errors import Conflict, NotFound

MAX_NAMES = 500
"""Most names one owner may have."""


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """One version of a definition."""

    name: str
    version: int
    owner: str
    """Id of the principal who wrote it."""
    shared: bool
    """Whether everybody may see and start it."""
    source: str
    has_run: bool
    """Whether a run was begun with it: it never changes from then on."""
    stored_at: datetime


class DefinitionStore(Protocol):
    """Keeps definitions by name and version. A name belongs to who stored it first.

    What `put` and `mark_run` have returned survives the process. Several processes may use one store; two that put
    under one name at once get different versions, or the same one for the same text. Raises Unavailable while the
    database is away.
    """

    async def put(
        self, name: str, source: str, owner: str, *, version: int | None = None, shared: bool = False
    ) -> StoredDefinition:
        """Store a text. The newest version is replaced as long as it has not run, else the next one is begun; a
        text that is the newest already changes nothing.

        With `version`, exactly that one is meant. Raises Conflict when it has run or is no next one, when the name
        belongs to somebody else, and when the owner has too many names.
        """
        ...

    async def get(self, name: str, version: int | None = None) -> StoredDefinition:
        """Return a version, the newest unless told otherwise; raises NotFound."""
        ...

    async def versions(self, name: str) -> list[StoredDefinition]:
        """Return all versions, newest first; empty when there are none."""
        ...

    async def newest(self, visible_to: str | None = None) -> list[StoredDefinition]:
        """Return the newest version of every name, in order of the names: of all, or of those that somebody may
        see because they are theirs or shared."""
        ...

    async def mark_run(self, name: str, version: int) -> StoredDefinition:
        """Note that a run begins with a version, and return it as it will stay; raises NotFound."""
        ...

    async def remove(self, name: str) -> None:
        """Drop every version that has not run; raises NotFound when there is none of the name."""
        ...


def definition_not_found(name: str, version: int | None = None) -> NotFound:
    """Return the error for a definition that is not there."""
    of = f" version {version} of" if version is not None else ""
    return NotFound(f"There is no{of} definition '{name}'.", "List the definitions.", argument="definition")


def next_version(versions: list[StoredDefinition], source: str, owner: str, version: int | None) -> int:
    """Return the version a text is to be stored as, given those there are, newest first; raises Conflict."""
    newest = versions[0] if versions else None
    if newest is None:
        return version or 1
    if newest.owner != owner:
        raise Conflict(
            f"The name '{newest.name}' belongs to somebody else.", "Choose another one.", argument="definition"
        )
    if version is None:
        return newest.version + 1 if newest.has_run and newest.source != source else newest.version
    known = next((one for one in versions if one.version == version), None)
    if known is not None and known.source == source:
        return version
    if known is not None and known.has_run:
        raise Conflict(
            f"Version {version} of '{newest.name}' has run: it stays as it is.",
            f"Store the change as version {newest.version + 1}, or leave the version out.",
            argument="definition",
        )
    if known is None and version <= newest.version:
        raise Conflict(
            f"Version {version} of '{newest.name}' is older than the newest, {newest.version}.",
            "Leave the version out.",
            argument="definition",
        )
    return version


def too_many_names(owner: str) -> Conflict:
    """Return the error for an owner who has used up their names."""
    return Conflict(
        f"{owner} has {MAX_NAMES} definitions, which is the most.", "Remove one.", argument="definition"
    )
