"""How much work one machine takes on at once, by its cores and memory."""

import os

from quantum_suite.services.capacity.places import places_for
from quantum_suite.services.workflows.interface import Queue

DEFAULT = "default"
HEAVY = "heavy"

_RUNS_PER_CORE = 8


def machine_queues(cores: int | None = None, memory_bytes: int | None = None) -> tuple[Queue, ...]:
    """Return `default`, for runs that mostly wait, and `heavy`, for runs that work all the while: as many as the
    machine has places for heavy work. Both bound one worker; more machines take more.

    A tool that does heavy work takes its place itself (`services/capacity`), whoever calls it, so that a run which
    waits for a person holds none.
    """
    cores = cores or len(os.sched_getaffinity(0))
    return (
        Queue(DEFAULT, worker_concurrency=cores * _RUNS_PER_CORE),
        Queue(HEAVY, worker_concurrency=places_for(cores, memory_bytes)),
    )
