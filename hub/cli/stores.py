"""Opens what a hub on this machine keeps, for commands that work on it directly."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from quantum_suite.core.scan_events import SCAN_EVENTS
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.audit.call_events import CALL_EVENTS
from quantum_suite.services.audit.chain.checkpoints import CheckpointFile
from quantum_suite.services.audit.chain.interface import AuditChain
from quantum_suite.services.audit.chain.sqlite import open_sqlite_audit_chain
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.interface import KeyProvider, SubjectKeys
from quantum_suite.services.encryption.opening import open_key_provider
from quantum_suite.services.encryption.subjects.sqlite import open_sqlite_subject_keys
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, and under which keys."""

    events: EventStore
    chain: AuditChain
    checkpoint_file: CheckpointFile
    keys: KeyProvider
    subject_keys: SubjectKeys


@asynccontextmanager
async def open_stores(settings: HubSettings) -> AsyncIterator[Stores]:
    """Open the stores below the data directory; a running hub may have them open as well."""
    home = settings.data_dir
    async with AsyncExitStack() as stack:
        url = settings.encryption_keys or (home.resolve() / "encryption-keys.json").as_uri()
        keys = await stack.enter_async_context(open_key_provider(url))
        subject_keys = stack.enter_context(open_sqlite_subject_keys(home / "subject-keys.db", keys))
        cipher = KeyedEventCipher(keys, subject_keys)
        registry = EventRegistry([*CALL_EVENTS, *SCAN_EVENTS])
        events = await stack.enter_async_context(SqliteEventStore(home / "events.db", registry, cipher))
        chain = stack.enter_context(open_sqlite_audit_chain(home / "audit.db"))
        file = CheckpointFile(home / "audit" / "checkpoints.jsonl")
        yield Stores(events, chain, file, keys, subject_keys)
