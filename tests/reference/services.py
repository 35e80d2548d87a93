"""What a module is built from, for tests that mount it alone."""

from collections.abc import Sequence
from pathlib import Path

from quantum_suite.core.events import EventData
from quantum_suite.core.scan_events import SCAN_EVENTS
from quantum_suite.servers.module import Services
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.workspaces import Workspaces


def event_log(types: Sequence[type[EventData]] = SCAN_EVENTS) -> MemoryEventStore:
    """Return an empty log that takes events of these types."""
    return MemoryEventStore(EventRegistry(types))


def services(data_dir: Path, *workspaces: Path) -> Services:
    """Return services over a data directory and these workspaces."""
    return Services(data_dir, Workspaces(workspaces), MemoryCapacity(2), event_log())
