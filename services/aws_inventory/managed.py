"""Which of an account's resources the states of stacks know."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from quantum_suite.core.errors import Damaged
from quantum_suite.services.aws_inventory.inventory import Item
from quantum_suite.services.infrastructure.interface import Deployment, ResourceState, StackRef
from quantum_suite.services.infrastructure.state.files import FileStateStore

LIBRARY_PREFIX = "pulumi-python:dynamic/aws:"


def every_state(store: FileStateStore) -> tuple[list[Deployment], list[str]]:
    """Return the states of all stacks this suite keeps, secrets sealed, and which could not be read."""
    states: list[Deployment] = []
    unread: list[str] = []
    top = store.place(StackRef(Path("/"), "any")).parent.parent
    for note in sorted(top.glob("*/folder")):
        folder = Path(note.read_text(encoding="utf-8").strip())
        for stack in store.stacks(folder):
            try:
                states.append(store.read(StackRef(folder, stack)))
            except Damaged:
                unread.append(f"{stack} of {folder}")
    return states, unread


def unmanaged(items: Iterable[Item], states: Sequence[Deployment]) -> list[Item]:
    """Return the items that no state knows: by type and id for the library's, else by id or ARN."""
    ours: set[tuple[str, str]] = set()
    others: set[str] = set()
    for state in states:
        for resource in state.resources:
            if resource.custom and resource.type.startswith(LIBRARY_PREFIX):
                ours.add((resource.type.removeprefix(LIBRARY_PREFIX), resource.id))
            elif resource.custom and not resource.external:
                others.update(_names(resource))
    return [item for item in items if (item.type, item.id) not in ours and not others & {item.id, item.arn} - {""}]


def _names(resource: ResourceState) -> set[str]:
    arn = resource.outputs.get("arn")
    names = {resource.id, arn if isinstance(arn, str) else ""}
    # Pulumi's own AWS provider knows queues by their address.
    if resource.id.startswith(("http://", "https://")):
        names.add(resource.id.rpartition("/")[2])
    return names - {""}
