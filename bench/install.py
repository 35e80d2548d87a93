"""What the base install weighs and how soon the command answers.

`python bench/install.py` installs the suite with pip into a fresh virtual environment, without extras, and
measures there. `--smoke` measures start times alone, in the environment it runs in, without the network. `--json`
ends with one line `{"figures": {...}}`. Times are medians of fresh processes, beside the bare interpreter's own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="start times here; nothing is installed")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    options = parser.parse_args()
    if options.smoke:
        figures = start_times(Path(sys.executable), rounds=3)
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure_install(Path(folder))
    for name, value in figures.items():
        print(f"{name:28} {value:g}")
    if options.json:
        print(json.dumps({"figures": figures}))


def measure_install(folder: Path) -> dict[str, float]:
    """Install the base distribution into a fresh environment and weigh what it added."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    before = {line.split("==")[0] for line in freeze(python)}
    weight_before = weigh(folder)
    began = time.perf_counter()
    subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT)], check=True)
    seconds = time.perf_counter() - began
    added = [line for line in freeze(python) if line.split("==")[0] not in before]
    weight = weigh(folder) - weight_before
    return {
        "base_install_mb": round(weight / 1e6, 1),
        "base_install_packages": len(added),
        "base_install_seconds": round(seconds, 1),
        **start_times(python, rounds=7),
    }


def freeze(python: Path) -> list[str]:
    """Return the packages of an environment."""
    done = subprocess.run([python, "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def weigh(folder: Path) -> int:
    """Return the bytes of all files, links not followed, byte code not counted."""
    total = 0
    for parent, _, names in os.walk(folder):
        total += sum(
            os.lstat(Path(parent) / name).st_size for name in names if not name.endswith((".pyc", ".pyo"))
        )
    return total


def start_times(python: Path, rounds: int) -> dict[str, float]:
    """Return how long fresh processes take, after one that warms the caches."""
    command = python.with_name("quantum")
    return {
        "bare_python_seconds": median_seconds([str(python), "-c", "pass"], rounds),
        "import_seconds": median_seconds([str(python), "-c", "import quantum_suite"], rounds),
        "version_seconds": median_seconds([str(command), "version"], rounds),
        "help_seconds": median_seconds([str(command), "--help"], rounds),
    }


def median_seconds(command: Sequence[str], rounds: int) -> float:
    """Return the median wall time of a command."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken[1:]), 3)


if __name__ == "__main__":
    main()
