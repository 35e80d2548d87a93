"""The children of the test's process, without the servers that the session runs for everybody."""

import psutil
from reference.backends import STARTED


def own_children() -> list[psutil.Process]:
    """Return every process below this one, but for the session's servers and what they start."""
    return [child for child in psutil.Process().children(recursive=True) if not _is_of_a_server(child)]


def _is_of_a_server(process: psutil.Process) -> bool:
    try:
        return process.pid in STARTED or any(parent.pid in STARTED for parent in process.parents())
    except psutil.NoSuchProcess:
        return False
