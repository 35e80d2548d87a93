"""How many places for heavy work a machine has."""

import os

BYTES_A_PLACE = 2 * 1024**3
"""Memory that one scan, test or mutation run, or build is reckoned to need."""


def places_for(cores: int | None = None, memory_bytes: int | None = None) -> int:
    """Return one place a core, as long as each finds `BYTES_A_PLACE` of memory; at least one. By default for this
    machine and the cores this process may use."""
    cores = cores or len(os.sched_getaffinity(0))
    memory_bytes = memory_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, memory_bytes // BYTES_A_PLACE))
