"""Watches files, so that edits apply without a restart.

By reading them again and again: they are small, and unlike the kernel's notifications that holds for folders that
are replaced, links that are switched, files that come into being, and network file systems.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, SuiteError
from quantum_suite.hub.config import Config, read_config

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.25
_Seen = TypeVar("_Seen")


async def watch(look: Callable[[], _Seen], known: _Seen, changed: Callable[[], None]) -> None:
    """Call `changed` whenever what `look` returns differs from `known`, or from what it was at the last call.

    What is being written is waited for: it has to look the same twice. Lasts until cancelled. `look` runs in a
    thread; neither may raise.
    """
    before = known
    while True:
        await anyio.sleep(_PAUSE_SECONDS)
        now = await anyio.to_thread.run_sync(look)
        if now == before and now != known:
            known = now
            changed()
        before = now


def content_of(path: Path) -> bytes | None:
    """Return what is in a file; None when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def policies_in(folder: Path) -> dict[str, bytes | None]:
    """Return the policy files in a folder with their content."""
    try:
        return {path.name: content_of(path) for path in folder.glob("*.cedar")}
    except OSError:
        return {}


class ConfigWatch:
    """Applies each new, readable state of mcp.json. After a broken edit the last good state goes on, reported."""

    def __init__(self, path: Path, apply: Callable[[Config], None]) -> None:
        self.path = path
        self.problem: str | None = None
        """Why the file as it stands is not in force."""
        self._apply = apply

    async def run(self, known: bytes | None) -> None:
        """Watch until cancelled; `known` is the content in force."""
        await watch(lambda: content_of(self.path), known, self._take)

    def _take(self) -> None:
        try:
            config = read_config(self.path)
            self._apply(config)
        except ConfigurationError as error:
            self.problem = f"{error} The last good state goes on."
            logger.error("mcp.json cannot be used; the last good state goes on", extra={"problem": str(error)})
        except Exception:
            self.problem = "It could not be applied, by a bug that the log describes. The last good state goes on."
            logger.exception("mcp.json could not be applied")
        else:
            self.problem = None
            logger.info("mcp.json applied", extra={"upstreams": len(config.upstreams)})


async def watch_policies(folder: Path, known: dict[str, bytes | None], reload: Callable[[], None]) -> None:
    """Call `reload` whenever a policy file is added, edited or removed, until cancelled.

    A policy that is wrong leaves those in force that were read last.
    """

    def take() -> None:
        try:
            reload()
        except SuiteError as error:
            logger.error("the policies cannot be used; the last good ones stay", extra={"problem": str(error)})
        except Exception:
            logger.exception("the policies could not be read again")
        else:
            logger.info("policies read again")

    await watch(lambda: policies_in(folder), known, take)
