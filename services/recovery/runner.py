"""Runs drills: each in a child process and a scratch folder of its own, both gone with it however it ends."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, EngineError, Unavailable
from quantum_suite.services import process
from quantum_suite.services.encryption.cipher import Sealer, new_data_key
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.recovery.interface import DrillProgress, DrillReport, DrillRequest
from quantum_suite.services.recovery.leftovers import PREFIX, end_processes, is_private, sweep_drills
from quantum_suite.services.recovery.live_source import credentials_for, parse_source
from quantum_suite.services.recovery.programs import find_programs, server_user

NEEDED_BYTES = 1_000_000_000
"""Room a drill needs: three small clusters, their logs of 16 MiB a segment, and a backup."""
_BYTES_A_ROW = 2_000
_WORKER = (sys.executable, "-I", "-m", "quantum_suite.services.recovery.worker")
_GRACE_SECONDS = 10.0
_MOST_BYTES = 50_000_000


class DrillRunner:
    """Runs drills below one scratch folder. One object serves every call."""

    def __init__(
        self,
        scratch: Path,
        keys: KeyProvider,
        environ: Mapping[str, str],
        worker: Sequence[str] = _WORKER,
    ) -> None:
        self.scratch = scratch
        self._keys = keys
        self._environ = environ
        self._worker = worker

    def sweep(self) -> int:
        """End and remove what killed drills left behind; returns how many there were."""
        return sweep_drills(self.scratch)

    async def run(self, drill: str, request: DrillRequest, progress: DrillProgress) -> DrillReport:
        """Run a drill; returns its report, also of one that failed.

        When this returns, raises or is cancelled, no process and no file of the drill is left. Raises CallerError
        for a source that is no address, EngineMissing without PostgreSQL, ConfigurationError and Unavailable for a
        scratch folder that cannot be used or is full, EngineError for a drill whose process died.
        """
        environment = {}
        if request.source is not None:
            environment = credentials_for(parse_source(request.source, "source"), self._environ)
        await anyio.to_thread.run_sync(self._open, request)
        programs = await find_programs(self.scratch)
        key = new_data_key()
        sealed = Sealer(await self._keys.current()).seal(key.secret, f"drill {drill}".encode())
        async with held_folder(self.scratch, PREFIX) as folder:
            if server_user() is not None:
                folder.chmod(0o711)
            asked = {
                "request": request.model_dump(mode="json"),
                "folder": str(folder),
                "drill": drill,
                "key": {"id": key.id, "secret": key.secret.hex()},
                "programs": {"folder": str(programs.folder), "version": programs.version, "major": programs.major},
            }
            try:
                report = await self._work(asked, environment, folder, request, progress)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(end_processes, folder)
        return report.model_copy(update={"facts": {**report.facts, "sealed key": sealed.hex()}})

    async def _work(
        self,
        asked: dict[str, Any],
        environment: Mapping[str, str],
        folder: Path,
        request: DrillRequest,
        progress: DrillProgress,
    ) -> DrillReport:
        found: list[DrillReport] = []

        async def heard(line: bytes) -> None:
            said = json.loads(line)
            if "report" in said:
                found.append(DrillReport.model_validate(said["report"]))
            else:
                await progress(*said["progress"])

        try:
            done = await process.run(
                self._worker,
                cwd=folder,
                env=environment,
                stdin=json.dumps(asked).encode(),
                timeout_seconds=request.timeout_seconds + 120,
                max_output_bytes=_MOST_BYTES,
                on_stdout_line=heard,
                grace_seconds=_GRACE_SECONDS,
            )
        except process.ProcessError as error:
            raise error.as_engine_error("recovery drill") from error
        if found:
            return found[0]
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise EngineError(
            f"The drill's process ended without a report ({ended}).",
            "Nothing of it is left; run it again.",
            engine="recovery drill",
            printed=done.stderr_tail,
        )

    def _open(self, request: DrillRequest) -> None:
        """Make the scratch folder, remove leftovers, and see that there is room."""
        try:
            self.scratch.mkdir(parents=True, exist_ok=True, mode=0o711)
            self._require_private()
            sweep_drills(self.scratch)
            free = shutil.disk_usage(self.scratch).free
        except OSError as error:
            raise ConfigurationError(
                f"The scratch folder {self.scratch} cannot be used: {error.strerror}.",
                "Give the hub's user access, or name another in QUANTUM_DRILLS.",
            ) from error
        needed = NEEDED_BYTES + request.rows * _BYTES_A_ROW
        if free < needed:
            raise Unavailable(
                f"The scratch folder {self.scratch} has {free // 1_000_000} MB free; this drill needs "
                f"{needed // 1_000_000} MB.",
                "Free room, name another folder in QUANTUM_DRILLS, or write fewer rows.",
            )

    def _require_private(self) -> None:
        """Refuse a folder that others could put something into, or that the servers' user cannot pass."""
        if not is_private(self.scratch):
            raise ConfigurationError(
                f"The scratch folder {self.scratch} is a link or somebody else's, or others may write to it.",
                "Name a folder of the hub's user in QUANTUM_DRILLS, mode 0711.",
            )
        if server_user() is not None:
            closed = [part for part in self.scratch.resolve().parents if not part.stat().st_mode & 0o001]
            if closed:
                raise ConfigurationError(
                    f"The hub runs as root and PostgreSQL cannot; its user may not pass {closed[0]}.",
                    "Name a folder that everybody may pass in QUANTUM_DRILLS.",
                )


def abandoned(drill: str, request: DrillRequest, state: str, problem: str, seconds: float) -> DrillReport:
    """Return the report of a drill that came to no end of its own: cancelled, or its process died."""
    return DrillReport.model_validate(
        {
            "id": drill,
            "request": request,
            "state": state,
            "began": datetime.now(UTC).isoformat(),
            "seconds": round(seconds, 3),
            "problem": problem,
        }
    )
