"""How much work one machine takes on at once, by its cores and memory."""

import os

from quantum_suite.services.workflows.interface import Queue

DEFAULT = "default"
HEAVY = "heavy"

_RUNS_PER_CORE = 8
_HEAVY_BYTES = 2 * 1024**3


def machine_queues(cores: int | None = None, memory_bytes: int | None = None) -> tuple[Queue, ...]:
    """Return `default`, for runs that mostly wait, and `heavy`, for scans, mutation runs and builds: one a core,
    as long as each finds 2 GiB of memory. Both bound one worker; more machines take more."""
    cores = cores or len(os.sched_getaffinity(0))
    memory_bytes = memory_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    heavy = max(1, min(cores, memory_bytes // _HEAVY_BYTES))
    return (
        Queue(DEFAULT, worker_concurrency=cores * _RUNS_PER_CORE),
        Queue(HEAVY, worker_concurrency=heavy),
    )
