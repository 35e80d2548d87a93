"""Opens the stores: embedded ones below the data directory, or the servers that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from quantum_suite.core.anomaly_events import ANOMALY_EVENTS
from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.events import EventData
from quantum_suite.core.incident_events import INCIDENT_EVENTS
from quantum_suite.core.infrastructure_events import INFRASTRUCTURE_EVENTS
from quantum_suite.core.llm_events import LLM_EVENTS
from quantum_suite.core.recovery_events import RECOVERY_EVENTS
from quantum_suite.core.scan_events import SCAN_EVENTS
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.audit.call_events import CALL_EVENTS
from quantum_suite.services.audit.chain.checkpoints import CheckpointFile
from quantum_suite.services.audit.chain.interface import AuditChain
from quantum_suite.services.audit.chain.sqlite import open_sqlite_audit_chain
from quantum_suite.services.definitions.interface import DefinitionStore
from quantum_suite.services.definitions.sqlite import SqliteDefinitionStore
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.interface import KeyProvider, SubjectKeys
from quantum_suite.services.encryption.opening import open_key_provider
from quantum_suite.services.encryption.subjects.sqlite import open_sqlite_subject_keys
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.llm.ledger.interface import Ledger
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.interface import ProgressStore
from quantum_suite.services.projections.sqlite import SqliteProgressStore
from quantum_suite.services.sagas.saga_events import SAGA_EVENTS
from quantum_suite.services.workflows.composite.trigger_events import TRIGGER_EVENTS
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, and under which keys."""

    events: EventStore
    progress: ProgressStore
    leases: LeaseStore
    chain: AuditChain
    checkpoint_file: CheckpointFile
    """Where the chain's checkpoints are written besides, so that a cut is noticed."""
    definitions: DefinitionStore
    keys: KeyProvider
    subject_keys: SubjectKeys
    model_ledger: Ledger | None = None
    """What models took, where several machines share it; None: each keeps a file of its own."""


def registered_types() -> Sequence[type[EventData]]:
    """Return every type of event that the suite's own parts append."""
    suites_own = (*CALL_EVENTS, *RUN_EVENTS, *CONTROL_EVENTS, *SAGA_EVENTS, *TRIGGER_EVENTS)
    return (
        *SCAN_EVENTS,
        *POSTURE_EVENTS,
        *LLM_EVENTS,
        *INFRASTRUCTURE_EVENTS,
        *RECOVERY_EVENTS,
        *INCIDENT_EVENTS,
        *ANOMALY_EVENTS,
        *suites_own,
    )


def is_embedded(settings: HubSettings) -> bool:
    """Whether everything is kept in files below the data directory; raises ConfigurationError for neither."""
    if settings.database == "sqlite":
        return True
    if settings.database.startswith(("postgresql://", "postgres://")):
        return False
    raise ConfigurationError(
        f"Setting database: '{settings.database.partition('://')[0]}' is nothing the suite keeps events in.",
        "Set QUANTUM_DATABASE to sqlite or to postgresql://user@host/name.",
    )


@asynccontextmanager
async def open_stores(settings: HubSettings) -> AsyncIterator[Stores]:
    """Open what the settings name; with the defaults, files below the data directory.

    Raises ConfigurationError for a URL that cannot be used, Unavailable for a server that is away.
    """
    async with AsyncExitStack() as stack:
        keys_url = settings.encryption_keys or (settings.data_dir.resolve() / "encryption-keys.json").as_uri()
        keys = await stack.enter_async_context(open_key_provider(keys_url))
        registry = EventRegistry(registered_types())
        leases = await _leases(stack, settings.leases)
        if is_embedded(settings):
            yield await _embedded(stack, settings, registry, keys, leases)
        else:
            # The client of PostgreSQL takes memory that most installations have no use for.
            from quantum_suite.hub.data_plane.postgres import open_postgres_stores

            opened = open_postgres_stores(settings.database, registry, keys, leases, _checkpoint_file(settings))
            yield await stack.enter_async_context(opened)


async def _embedded(
    stack: AsyncExitStack,
    settings: HubSettings,
    registry: EventRegistry,
    keys: KeyProvider,
    leases: LeaseStore | None,
) -> Stores:
    home = settings.data_dir
    subject_keys = stack.enter_context(open_sqlite_subject_keys(home / "subject-keys.db", keys))
    cipher = KeyedEventCipher(keys, subject_keys)
    return Stores(
        events=await stack.enter_async_context(SqliteEventStore(home / "events.db", registry, cipher)),
        progress=stack.enter_context(SqliteProgressStore(home / "progress.db")),
        leases=leases or stack.enter_context(SqliteLeaseStore(home / "leases.db")),
        chain=stack.enter_context(open_sqlite_audit_chain(home / "audit.db")),
        checkpoint_file=_checkpoint_file(settings),
        definitions=stack.enter_context(SqliteDefinitionStore(home / "definitions.db")),
        keys=keys,
        subject_keys=subject_keys,
    )


def _checkpoint_file(settings: HubSettings) -> CheckpointFile:
    return CheckpointFile(settings.data_dir / "audit" / "checkpoints.jsonl")


async def _leases(stack: AsyncExitStack, url: str | None) -> LeaseStore | None:
    """Return the leases of a server of their own; None where they belong to the database."""
    if url is None:
        return None
    if not url.startswith(("nats://", "tls://")):
        raise ConfigurationError(
            f"Setting leases: '{url.partition('://')[0]}' gives out no leases.",
            "Set QUANTUM_LEASES to nats://host:4222, or leave it out for the database's.",
        )
    # An optional server: most installations have their leases in the database.
    from quantum_suite.services.bus.nats_connection import open_nats
    from quantum_suite.services.leases.nats import NatsLeaseStore

    return NatsLeaseStore(await stack.enter_async_context(open_nats(url, must_answer=False)))
