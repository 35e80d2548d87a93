"""Wrapped keys of data subjects in PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.encryption.subjects.interface import WrappedKey
from quantum_suite.services.encryption.subjects.wrapped import FORGET_SECONDS, WrappedSubjectKeys


class PostgresSubjectKeyRows:
    """Keeps the rows in the suite's schema.

    A deleted row is vacuumed away at once, as far as older transactions of the database allow. WAL archives,
    standbys' delay and dumps made before still hold it.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def erasures(self) -> int:
        """Return how many erasures there were."""
        return int((await self._rows("SELECT count FROM subject_erasures"))[0][0])

    async def of_subjects(self, subjects: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of those subjects that have one."""
        return await self._keys(
            "SELECT id, subject, wrapped FROM subject_keys WHERE subject = ANY(%s)", list(subjects)
        )

    async def of_ids(self, key_ids: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of these names."""
        return await self._keys("SELECT id, subject, wrapped FROM subject_keys WHERE id = ANY(%s)", list(key_ids))

    async def add(self, keys: Sequence[WrappedKey]) -> None:
        """Add keys of subjects that have none."""
        # In the subjects' order, so that two who add the same ones at once never wait for each other in a ring.
        ordered = sorted(keys, key=lambda key: key.subject)
        columns = [[key.id for key in ordered], [key.subject for key in ordered], [key.wrapped for key in ordered]]
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO subject_keys (id, subject, wrapped) "
                "SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[]) ON CONFLICT (subject) DO NOTHING",
                columns,
            )

    async def remove(self, subject: str) -> bool:
        """Delete the subject's key, and what the table keeps of it."""
        async with self._database.connection() as connection:
            async with connection.transaction():
                done = await connection.execute("DELETE FROM subject_keys WHERE subject = %s", (subject,))
                if removed := done.rowcount > 0:
                    await connection.execute("UPDATE subject_erasures SET count = count + 1")
            # Also where nothing was removed now: an earlier attempt may have been cut short right before this.
            await connection.execute("VACUUM subject_keys")
        return removed

    async def page(self, after_id: str, limit: int) -> list[WrappedKey]:
        """Return keys by name."""
        return await self._keys(
            "SELECT id, subject, wrapped FROM subject_keys "
            'WHERE id COLLATE "C" > %s ORDER BY id COLLATE "C" LIMIT %s',
            after_id,
            limit,
        )

    async def replace(self, key_id: str, old: bytes, new: bytes) -> bool:
        """Put `new` in the place of `old`."""
        async with self._database.connection() as connection:
            done = await connection.execute(
                "UPDATE subject_keys SET wrapped = %s WHERE id = %s AND wrapped = %s", (new, key_id, old)
            )
            return done.rowcount > 0

    async def count(self) -> int:
        """Return how many keys there are."""
        return int((await self._rows("SELECT count(*) FROM subject_keys"))[0][0])

    async def _keys(self, query: str, *values: Any) -> list[WrappedKey]:
        return [WrappedKey(*row) for row in await self._rows(query, *values)]

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        async with self._database.connection() as connection:
            return await (await connection.execute(query, values, binary=True)).fetchall()


def postgres_subject_keys(
    database: PostgresDatabase, provider: KeyProvider, *, forget_seconds: float = FORGET_SECONDS
) -> WrappedSubjectKeys:
    """Return the subjects' keys kept in `database`."""
    return WrappedSubjectKeys(PostgresSubjectKeyRows(database), provider, forget_seconds=forget_seconds)
