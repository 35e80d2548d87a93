"""Other people's gateways, each in a virtual environment of its own under the repository's ignored `.cache/`."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
INSTALL_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """An installed distribution."""

    bin: Path
    version: str


class NotInstalled(Exception):
    """The distribution could not be installed; the text says why."""


def install(distribution: str) -> Peer:
    """Return the newest release of `distribution` that installs here, as found when the environment was made.

    Delete its folder under `.cache/bench` to have a newer one. Raises NotInstalled.
    """
    home = CACHE / distribution
    done = home / "installed"
    python = home / "bin" / "python"
    if not done.exists():
        venv.create(home, clear=True, with_pip=True)
        try:
            pip = [str(python), "-m", "pip", "install", "--quiet", distribution]
            subprocess.run(pip, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines()
            raise NotInstalled(lines[-1] if lines else f"pip ended with {error.returncode}") from error
        except subprocess.TimeoutExpired as error:
            raise NotInstalled(f"pip took longer than {INSTALL_SECONDS} s") from error
        done.touch()
    query = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    version = subprocess.run([str(python), "-c", query], check=True, capture_output=True, text=True).stdout.strip()
    return Peer(home / "bin", version)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, install(name).version)
