"""Where watches keep what their detectors know: one file a watch, replaced as a whole.

A state may be lost at any time (a disk, another machine): the watch then learns anew from its source's past.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio.to_thread
import orjson

from quantum_suite.services.anomalies.watch import Look, Watch
from quantum_suite.services.records.durable_files import replace_durably

_ID = re.compile(r"watch_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class WatchState:
    """What is known of a watch between two looks."""

    detectors: Mapping[str, Any] = field(default_factory=dict)
    """States of detectors by the labels of their series."""
    look: Look | None = None
    """The last one."""


class WatchStates:
    """Reads and writes states."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def load(self, watch: Watch) -> WatchState:
        """Return a watch's state; an empty one where there is none, or where it cannot be read."""
        return await anyio.to_thread.run_sync(self._read, watch.id)

    async def save(self, watch: Watch, state: WatchState) -> None:
        """Replace a watch's state."""
        await anyio.to_thread.run_sync(self._write, watch.id, state)

    async def drop(self, watch: Watch) -> None:
        """Forget a watch."""
        await anyio.to_thread.run_sync(lambda: self._path(watch.id).unlink(missing_ok=True))

    def _path(self, watch: str) -> Path:
        if _ID.fullmatch(watch) is None:
            raise ValueError(f"no id of a watch: {watch}")
        return self._directory / f"{watch}.json.z"

    def _read(self, watch: str) -> WatchState:
        try:
            told = orjson.loads(zlib.decompress(self._path(watch).read_bytes()))
            look = told["look"]
            return WatchState(told["detectors"], Look(**{**look, "notes": tuple(look["notes"])}) if look else None)
        except (OSError, ValueError, KeyError, TypeError, zlib.error):
            return WatchState()

    def _write(self, watch: str, state: WatchState) -> None:
        told = {"detectors": state.detectors, "look": asdict(state.look) if state.look else None}
        replace_durably(self._path(watch), zlib.compress(orjson.dumps(told), level=1))
