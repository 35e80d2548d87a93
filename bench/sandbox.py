"""What it costs to run foreign code apart, to copy a workspace, and how exactly patches are applied.

    python bench/sandbox.py --data REPOSITORY     # a clone of any project, with its history
    python bench/sandbox.py --smoke               # a repository made on the spot; a few seconds, no network

Parts (`--only`):

- **run**: what a sandbox adds to a program that does nothing, against starting it directly, in time and in
  processor time; what watching one takes of a processor while it sleeps; how long somebody who forks without end
  goes on.
- **copy**: files and megabytes a second, of the repository's work tree.
- **patches**: the newest commits of the repository (`--commits`), as git's diffs: applied by us to the parent's
  files and compared with what git has, byte for byte; taken back and compared again; and our own diff of the same
  change given to `git apply`.

With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio

from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.patches.interface import PatchRefused
from quantum_suite.services.patches.rendering import to_unified_diff
from quantum_suite.services.patches.writing import reverse, write
from quantum_suite.services.sandbox.interface import Limits, Sandbox, SandboxCommand
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.sandbox.rlimits import RlimitSandbox
from quantum_suite.services.scratch.files import open_scratch_space

PARTS = ("run", "copy", "patches")
FORKS = "import os, time\nend = time.time() + 3\nwhile time.time() < end: os.fork()"
"""Stops by itself after three seconds, should it not be stopped."""


def git(*arguments: str | Path, cwd: Path, given: bytes | None = None) -> bytes:
    """Run git and return what it prints."""
    command = ["git", "-c", "core.autocrlf=false", *arguments]
    return subprocess.run(command, cwd=cwd, check=True, input=given, capture_output=True).stdout


def made_repository(root: Path, files: int, commits: int) -> Path:
    """A repository of plain text with changes all over it."""
    root.mkdir()
    git("init", "-q", ".", cwd=root)
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    for commit in range(commits):
        for number in range(commit % 7, files, 1 if commit == 0 else 7):
            path = root / f"pkg{number % 10}/module_{number}.py"
            path.parent.mkdir(exist_ok=True)
            lines = [f"def f_{line}(): return {commit if (commit + line) % 3 else line}\n" for line in range(60)]
            path.write_text("".join(lines))
        git("add", "-A", cwd=root)
        git(*identity, "commit", "-q", "-m", f"commit {commit}", cwd=root)
    return root


async def measure_run(repeats: int) -> dict[str, float]:
    """Return the figures of running programs."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        started = time.monotonic()
        for _ in range(repeats):
            subprocess.run(["/bin/true"], check=True, cwd=cwd)
        direct = (time.monotonic() - started) / repeats
        strictest = (await best_sandbox()).sandbox
        sandboxes: list[Sandbox] = [RlimitSandbox()]
        if strictest.isolation is not sandboxes[0].isolation:
            sandboxes.append(strictest)
        for sandbox in sandboxes:
            name = str(sandbox.isolation)
            took = []
            before = _cpu_seconds()
            for _ in range(repeats):
                began = time.monotonic()
                await sandbox.run(SandboxCommand(["/bin/true"], cwd=cwd, writable=[cwd]))
                took.append(time.monotonic() - began)
            figures[f"{name}_added_ms"] = round(1000 * (statistics.median(took) - direct), 1)
            figures[f"{name}_cpu_ms"] = round(1000 * (_cpu_seconds() - before) / repeats, 1)
            before = _cpu_seconds()
            await sandbox.run(SandboxCommand(["/bin/sleep", "2"], cwd=cwd, writable=[cwd]))
            figures[f"{name}_watching_cpu_percent"] = round(50 * (_cpu_seconds() - before), 1)
            limits = Limits(seconds=20, processes=64)
            bomb = SandboxCommand([sys.executable, "-S", "-c", FORKS], cwd=cwd, limits=limits)
            run = await sandbox.run(bomb)
            figures[f"{name}_fork_bomb_seconds"] = round(run.seconds, 2)
            figures[f"{name}_fork_bomb_ended"] = float(run.ended_by == "processes")
    return figures


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


async def measure_copy(repository: Path, repeats: int) -> dict[str, float]:
    """Return the figures of copying a work tree."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        space = await open_scratch_space(Path(folder))
        for _ in range(repeats):
            began = time.monotonic()
            async with space.copy(repository) as scratch:
                took.append(time.monotonic() - began)
                size = sum(path.stat().st_size for path in scratch.root.rglob("*") if path.is_file())
                files = scratch.files
    seconds = statistics.median(took)
    return {
        "copy_files": float(files),
        "copy_files_per_s": round(files / seconds),
        "copy_mb_per_s": round(size / 1e6 / seconds, 1),
    }


def measure_patches(repository: Path, commits: int) -> dict[str, float]:
    """Return how many commits were applied to what git has, and what became of the others."""
    counts: Counter[str] = Counter()
    seconds = 0.0
    ids = git("rev-list", "--no-merges", f"--max-count={commits}", "HEAD", cwd=repository).decode().split()
    for commit in ids:
        parents = git("rev-list", "--parents", "-n", "1", commit, cwd=repository).decode().split()[1:]
        if parents:
            counts["commits"] += 1
            outcome, took = _one_commit(repository, parents[0], commit)
            counts[outcome] += 1
            seconds += took
            if outcome not in ("equal", "refused_by_design"):
                print(f"{commit}: {outcome}", file=sys.stderr)
    return {
        "patch_commits": float(counts["commits"]),
        "patch_equal_to_git": float(counts["equal"]),
        "patch_refused_by_design": float(counts["refused_by_design"]),
        "patch_wrong": float(counts["commits"] - counts["equal"] - counts["refused_by_design"]),
        "patch_ms_each": round(1000 * seconds / max(1, counts["commits"]), 2),
    }


def _one_commit(repository: Path, parent: str, commit: str) -> tuple[str, float]:
    patch = git("diff-tree", "-p", "-M", "--binary", "--full-index", parent, commit, cwd=repository)
    if not patch.strip():
        return "refused_by_design", 0.0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = git("diff-tree", "-r", "-z", "--no-renames", "--name-only", parent, commit, cwd=repository).split(
            b"\0"
        )
        touched = [os.fsdecode(name) for name in names if name]
        _check_out(repository, parent, touched, root)
        began = time.monotonic()
        try:
            change = apply_patch(patch, root)
        except PatchRefused as refusal:
            by_design = any(word in refusal.message for word in ("mode 1", "given as a difference", "may have"))
            print(f"{commit}: {refusal}", file=sys.stderr)
            return ("refused_by_design" if by_design else "refused_wrongly"), 0.0
        took = time.monotonic() - began
        write(change, root)
        if not _is_as(repository, commit, touched, root):
            return "differs", took
        write(reverse(change), root)
        if not _is_as(repository, parent, touched, root):
            return "reverse_differs", took
        git("init", "-q", ".", cwd=root)
        git("apply", "--whitespace=nowarn", "-", cwd=root, given=to_unified_diff(change).encode())
        return ("equal" if _is_as(repository, commit, touched, root) else "our_diff_differs"), took


def _contents(repository: Path, commit: str, paths: list[str]) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for path in paths:
        done = subprocess.run(["git", "cat-file", "blob", f"{commit}:{path}"], cwd=repository, capture_output=True)
        found[path] = done.stdout if done.returncode == 0 else None
    return found


def _check_out(repository: Path, commit: str, paths: list[str], root: Path) -> None:
    for path, content in _contents(repository, commit, paths).items():
        if content is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)


def _is_as(repository: Path, commit: str, paths: list[str], root: Path) -> bool:
    return all(
        ((root / path).read_bytes() if (root / path).is_file() else None) == content
        for path, content in _contents(repository, commit, paths).items()
    )


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a git repository")
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    repeats = 3 if arguments.smoke else 20
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = (60, 8) if arguments.smoke else (2_000, 40)
        repository = arguments.data or made_repository(Path(folder) / "repository", *made)
        if "run" in arguments.only:
            figures |= await measure_run(repeats)
        if "copy" in arguments.only:
            figures |= await measure_copy(repository, min(repeats, 5))
        if "patches" in arguments.only:
            figures |= measure_patches(repository, 8 if arguments.smoke else arguments.commits)
    for name, value in figures.items():
        print(f"{name:36} {value:g}")
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    anyio.run(main)
