"""A client of PostgreSQL that freezes in the middle of a transaction: `silent_client.py URL SECONDS STREAM`.

It holds the row of a stream, and has written: whoever appends there, or reads the log, waits for it. The server
ends it after so many seconds. Thawed, it prints the code of the error that it gets then.
"""

import os
import signal
import sys

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.databases.postgres import open_postgres


async def main(url: str, seconds: float, stream: str) -> None:
    async with open_postgres(url, silent_seconds=seconds) as database:
        try:
            async with database.connection() as connection, connection.transaction():
                await connection.execute("UPDATE streams SET version = version WHERE name = %s", (stream,))
                await connection.execute("INSERT INTO fences VALUES ('silent', 1)")
                print("silent", flush=True)
                os.kill(os.getpid(), signal.SIGSTOP)
                await connection.execute("SELECT 1")
        except SuiteError as error:
            print(error.code, flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), sys.argv[3])
