"""Opens the stores on PostgreSQL. Imported where PostgreSQL is used alone: its client takes memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quantum_suite.hub.data_plane.stores import Stores
from quantum_suite.services.audit.chain.checkpoints import CheckpointFile
from quantum_suite.services.audit.chain.postgres import PostgresAuditChain
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.definitions.postgres import PostgresDefinitionStore
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.encryption.subjects.postgres import postgres_subject_keys
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.postgres import PostgresLeaseStore
from quantum_suite.services.llm.ledger.postgres import PostgresLedger
from quantum_suite.services.projections.postgres import PostgresProgressStore


@asynccontextmanager
async def open_postgres_stores(
    url: str, registry: EventRegistry, keys: KeyProvider, leases: LeaseStore | None, file: CheckpointFile
) -> AsyncIterator[Stores]:
    """Open everything in the database at `url`; `leases` where they are elsewhere.

    `file` takes the audit chain's checkpoints besides. Raises Unavailable.
    """
    async with open_postgres(url) as database:
        subject_keys = postgres_subject_keys(database, keys)
        async with PostgresEventStore(database, registry, KeyedEventCipher(keys, subject_keys)) as events:
            yield Stores(
                events=events,
                progress=PostgresProgressStore(database),
                leases=leases or PostgresLeaseStore(database),
                chain=PostgresAuditChain(database),
                checkpoint_file=file,
                definitions=PostgresDefinitionStore(database),
                keys=keys,
                subject_keys=subject_keys,
                model_ledger=PostgresLedger(database),
            )
