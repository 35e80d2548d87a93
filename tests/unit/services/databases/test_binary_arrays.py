"""Arrays in PostgreSQL's wire format."""

import pytest

from quantum_suite.services.databases.binary_arrays import (
    BigintArray,
    ByteaArray,
    IntegerArray,
    TextArray,
    accept_arrays,
)
from quantum_suite.services.databases.postgres import open_postgres

pytestmark = pytest.mark.anyio


async def test_postgres_reads_what_was_packed(postgres_url: str) -> None:
    integers = [0, 1, -1, 2**31 - 1, -(2**31)]
    bigints = [0, -1, 2**63 - 1, -(2**63), 7]
    texts = ["", "a", "ü\U0001f600", "NULL", '{"x",y}']
    blobs = [b"", b"\x00", b"\xff" * 1000, b"\\x", b"a"]
    async with open_postgres(postgres_url) as database, database.connection() as connection:
        accept_arrays(connection)
        cursor = await connection.execute(
            "SELECT a, b, c, d FROM unnest(%s, %s, %s, %s) AS rows(a, b, c, d)",
            (IntegerArray(integers), BigintArray(bigints), TextArray(texts), ByteaArray(blobs)),
        )
        assert await cursor.fetchall() == list(zip(integers, bigints, texts, blobs, strict=True))
        cursor = await connection.execute("SELECT cardinality(%s)", (ByteaArray([]),))
        assert await cursor.fetchone() == (0,)
