"""Watches mcp.json, so that edits apply without a restart."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
from watchfiles import awatch

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.config import Config, read_config

logger = logging.getLogger(__name__)

_WAKE_MS = 200
"""How long the watching thread may keep a stopping hub waiting: it hears of the end only when it wakes."""


async def watch_config(path: Path, apply: Callable[[Config], None]) -> None:
    """Call `apply` with each new, readable state of the file, until cancelled.

    A broken edit is logged and changes nothing: the last good state goes on. The folder is watched rather than the
    file, because editors replace a file instead of writing into it.
    """
    target = await anyio.to_thread.run_sync(path.resolve)
    async for _ in awatch(
        target.parent,
        watch_filter=lambda _, changed: Path(changed).name == target.name,
        recursive=False,
        debounce=200,
        rust_timeout=_WAKE_MS,
    ):
        if not target.exists():
            continue  # between the two halves of a replacement
        try:
            config = read_config(target)
        except ConfigurationError as error:
            logger.error("mcp.json cannot be read; the last good state goes on", extra={"problem": str(error)})
            continue
        apply(config)
        logger.info("mcp.json applied", extra={"upstreams": len(config.upstreams)})
