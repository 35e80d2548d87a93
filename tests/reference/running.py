"""Child processes that listen and print where: our servers, and the hub."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

REFERENCE = Path(__file__).parent
START_SECONDS = 60
STOP_SECONDS = 45


@asynccontextmanager
async def listening(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[str, anyio.abc.Process]]:
    """Run `command` and yield the URL in its first line of output, which may be JSON with a `url`.

    On the way out the child is asked to end (SIGTERM) and, failing that in time, killed.
    """
    env = {**os.environ, **(environment or {})}
    async with await anyio.open_process(list(command), stdin=None, stderr=None, env=env) as child:
        try:
            assert child.stdout is not None
            with anyio.fail_after(START_SECONDS):
                line = await BufferedByteReceiveStream(child.stdout).receive_until(b"\n", 64 * 1024)
            text = line.decode().strip()
            yield (json.loads(text)["url"] if text.startswith("{") else text), child
        finally:
            if child.returncode is None:
                child.terminate()
                with anyio.move_on_after(STOP_SECONDS, shield=True):
                    await child.wait()
            if child.returncode is None:
                child.kill()


def reference_server() -> list[str]:
    """The command of the reference server, without its transport."""
    return [sys.executable, str(REFERENCE / "server.py")]


@asynccontextmanager
async def hub_child(config: Mapping[str, object], home: Path, **environment: str) -> AsyncIterator[str]:
    """Run `quantum up` on a free port, with `config` as its mcp.json and its state under `home`; yield its URL."""
    file = home / "mcp.json"
    file.write_text(json.dumps(config))
    quantum = str(Path(sys.executable).with_name("quantum"))
    command = [quantum, "up", "--port", "0", "--config", str(file), "--data-dir", str(home / "data"), "--json"]
    async with listening(command, environment) as (url, _):
        yield url
