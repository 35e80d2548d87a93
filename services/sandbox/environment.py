"""What a command in a sandbox finds around it: variables, and folders of its own for passing things."""

import os
from collections.abc import Mapping
from pathlib import Path

_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables of the suite's own environment that say nothing of the user and his secrets."""


def sandbox_environment(extra: Mapping[str, str], home: Path, temporary: Path) -> dict[str, str]:
    """Return the whole environment of a command. `extra` overlays it."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    environment |= {"HOME": str(home), "TMPDIR": str(temporary)}
    # Files written beside sources are changes nobody asked for, and cost space in a copy.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.update(extra)
    return environment
