"""The process a query runs in: it opens a published copy, answers one question and ends.

What DuckDB's own bounds do not hold (a function that builds one huge value counts against no memory limit and
cannot be interrupted) the operating system's do: address space, CPU time and files that may be written.
Reads `{"path", "sql", "values", "max_rows", "max_bytes", "seconds"}` from stdin, writes one JSON object to stdout.
"""

import json
import math
import resource
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_ADDRESS_SPACE = 2 * 1024**3
_THREADS = 2
_CHUNK = 100

_CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "512MB",
    "temp_directory": "",
    "threads": str(_THREADS),
    "lock_configuration": "true",
}


def main() -> None:
    """Answer the question on stdin."""
    asked = json.load(sys.stdin)
    import duckdb  # heavy: the limits below must leave room for it, and nothing else of the suite needs it

    seconds = math.ceil(asked["seconds"]) * _THREADS + 1
    for kind, limit in (
        (resource.RLIMIT_AS, _ADDRESS_SPACE),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    try:
        answer = _answer(duckdb, asked)
    except duckdb.Error as error:
        answer = {"problem": str(error)}
    except MemoryError:
        answer = {"problem": "Out of memory."}
    json.dump(answer, sys.stdout)


def _answer(duckdb: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    statements = duckdb.extract_statements(asked["sql"])
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return {"problem": "Only a single SELECT is allowed."}
    connection = duckdb.connect(asked["path"], read_only=True, config=_CONFIG)
    (as_of,) = connection.execute("SELECT max(time) FROM events").fetchone()
    connection.execute(statements[0], asked["values"] or None)
    columns = [column[0] for column in connection.description]
    rows: list[list[Any]] = []
    size = 0
    while len(rows) <= asked["max_rows"] and (chunk := connection.fetchmany(_CHUNK)):
        for row in chunk:
            values = [_plain(value) for value in row]
            size += len(json.dumps(values))
            if size > asked["max_bytes"] or len(rows) == asked["max_rows"]:
                return {"columns": columns, "rows": rows, "truncated": True, "as_of": _plain(as_of)}
            rows.append(values)
    return {"columns": columns, "rows": rows, "truncated": False, "as_of": _plain(as_of)}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what JSON has no form for as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return str(value)


if __name__ == "__main__":
    main()
