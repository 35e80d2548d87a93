"""Runs a project's program: Python in its own interpreter and the sandbox, YAML by our own interpreter."""

import json
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import grpc
from pulumi.runtime.proto import engine_pb2_grpc, resource_pb2_grpc

from quantum_suite.core.errors import CallerError, EngineError, EngineMissing
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.infrastructure.embedded.deploying import Deploying
from quantum_suite.services.infrastructure.embedded.hosts import CHANNEL_OPTIONS
from quantum_suite.services.infrastructure.embedded.monitor import EngineService, Monitor
from quantum_suite.services.infrastructure.embedded.plugins import Surroundings
from quantum_suite.services.infrastructure.embedded.yaml_program import YamlProgram
from quantum_suite.services.infrastructure.project import Configuration, Project
from quantum_suite.services.sandbox.interface import SandboxCommand, SandboxRun

FOLDER_PREFIX = "quantum-monitor-"
"""How the folders are called that the sockets lie in."""

RUNNER = Path(__file__).parent / "child" / "run_program.py"
_TAIL = 4_000


@dataclass(frozen=True, slots=True)
class Program:
    """A project's program, ready to be run any number of times."""

    project: Project
    configuration: Configuration
    surroundings: Surroundings
    parallel: int

    async def run(self, run: Deploying) -> None:
        """Run it to its end. Raises EngineError when it fails, hangs or prints too much."""
        if self.project.runtime == "yaml":
            await YamlProgram(self.project, self.configuration, run).run()
        else:
            await self._run_python(run)

    async def _run_python(self, run: Deploying) -> None:
        config = dict(self.configuration.values)
        secret_keys = sorted(self.configuration.secret_keys)
        monitor = Monitor(run, config, secret_keys, self.parallel)
        async with AsyncExitStack() as stack:
            # A socket of the file system, in a short path: the program needs no network to reach it.
            place = await stack.enter_async_context(held_folder(Path(tempfile.gettempdir()), FOLDER_PREFIX))
            address = f"unix:{place}/m"
            server = grpc.aio.server(options=CHANNEL_OPTIONS)
            resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
            engine_pb2_grpc.add_EngineServicer_to_server(EngineService(run), server)
            server.add_insecure_port(address)
            await server.start()
            try:
                ended = await self._started(address, place, config, secret_keys, run)
            finally:
                with anyio.CancelScope(shield=True):
                    await server.stop(grace=None)
        if monitor.failure is not None:
            raise monitor.failure
        if ended.ended_by != "itself" or ended.returncode != 0:
            raise self._failure(ended, run)
        run.recorder.message(ended.stdout.decode("utf-8", "replace").strip()) if ended.stdout.strip() else None

    async def _started(
        self, address: str, place: Path, config: dict[str, str], secret_keys: list[str], run: Deploying
    ) -> SandboxRun:
        given = self.surroundings
        order = {
            "monitor": address,
            "engine": address,
            "project": self.project.name,
            "stack": run.names.stack,
            "organization": "organization",
            "dry_run": run.dry_run,
            "parallel": self.parallel,
            "folder": str(self.project.folder),
            "main": self.project.main,
            "config": config,
            "secret_keys": secret_keys,
        }
        return await given.sandbox.run(
            SandboxCommand(
                command=[str(given.python), str(RUNNER)],
                cwd=self.project.folder,
                readable=[*given.readable, RUNNER.parent, place],
                # Sets are walked in the same order every time, so that equal programs register equal things.
                env={**given.environment, "PYTHONHASHSEED": "0", "GRPC_VERBOSITY": "NONE"},
                stdin=json.dumps(order).encode(),
                network=given.program_network,
                limits=given.limits(),
            )
        )

    def _failure(self, ended: SandboxRun, run: Deploying) -> EngineError:
        printed = run.recorder.masks.masked(
            (ended.stderr + b"\n" + ended.stdout).decode("utf-8", "replace")
        ).strip()
        failed = "; ".join(f"{urn.rpartition('::')[2]}: {message}" for urn, message in run.recorder.failures[:3])
        if ended.ended_by != "itself":
            return EngineError(
                f"The program was ended: {run.recorder.masks.masked(ended.explanation)}",
                "Find out what it waits for or does without end; its output is below.",
                engine="pulumi",
                printed=printed[-_TAIL:],
            )
        if ended.returncode == _NO_SDK:
            return EngineMissing(
                f"{self.surroundings.python} has no pulumi package.",
                "Install it there: `pip install 'quantum-suite[infra]'`, or pulumi in the project's environment.",
                engine="pulumi",
            )
        if failed:
            return EngineError(failed, "See what the provider says.", engine="pulumi", printed=printed[-_TAIL:])
        last = next((line for line in reversed(printed.splitlines()) if line.strip()), "it printed nothing")
        return EngineError(
            f"The program failed: {last.strip()[:500]}",
            "Mend the program; its output is below.",
            engine="pulumi",
            printed=printed[-_TAIL:],
        )


_NO_SDK = 33


def interpreter_of(project: Project, ours: Path) -> Path:
    """Return the Python a project's program runs in: its virtual environment's, else ours. Raises CallerError."""
    if not project.virtualenv:
        return ours
    python = project.folder / project.virtualenv / "bin" / "python"
    if not python.exists():
        raise CallerError(
            f"Pulumi.yaml names the virtual environment {project.virtualenv}, which has no bin/python.",
            f"Make it: `python -m venv {project.virtualenv}`, and install the program's requirements.",
            argument="folder",
        )
    return python
