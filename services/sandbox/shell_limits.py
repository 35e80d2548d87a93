"""Resource limits that a shell sets before it becomes the program: no code runs between fork and exec here."""

from quantum_suite.services.sandbox.interface import Limits

_SCRIPT = 'ulimit -c 0 && ulimit -f "$1" && ulimit -d "$2" && shift 2 && exec "$@"'


def limited(command: list[str], limits: Limits) -> list[str]:
    """Return a command that runs `command` without core dumps and with limits on a file's size (in blocks of
    512 bytes, as POSIX has it) and on the memory of each process (in KiB)."""
    return [
        "/bin/sh",
        "-c",
        _SCRIPT,
        "limits",
        str(max(1, limits.file_bytes // 512)),
        str(max(1, limits.memory_bytes // 1024)),
        *command,
    ]
