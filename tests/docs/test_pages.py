"""Pages with commands do what they say: the commands are run, and what they print is compared."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest
from docs.pages import ROOT, Step, fits, steps

SHOWN_PORT = "8765"
READY = "Ctrl-C stops it"
SECONDS = 60.0


class Terminal:
    """A terminal in which something runs until it is interrupted."""

    def __init__(self, script: str, environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, words: str) -> str:
        """Return what was printed up to the line with `words`."""
        printed = ""
        while words not in printed:
            try:
                line = self._lines.get(timeout=SECONDS)
            except Empty:
                line = None
            assert line is not None, f"{words!r} was not printed:\n{printed}"
            printed += line
        return printed

    def interrupt(self) -> None:
        """Press Ctrl-C and wait for the end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def terminals(environ: dict[str, str]) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    try:
        yield opened
    finally:
        for terminal in opened:
            terminal.interrupt()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_in(shell: Path, script: str, environ: dict[str, str]) -> str:
    """Run a step in the reader's second terminal, which keeps its variables from step to step."""
    whole = f"cd {ROOT}\n[ -f {shell} ] && . {shell} >/dev/null 2>&1\n{script}\nexport -p > {shell}\n"
    done = subprocess.run(
        ["bash", "-c", whole],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * SECONDS,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("page", "starts"), [("docs/getting-started.md", 2), ("docs/operating.md", 1)])
def test_a_page_works_as_it_says(tmp_path: Path, page: str, starts: int) -> None:
    port = str(free_port())
    environ = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "COLUMNS": "200",
        "QUANTUM_PORT": port,
        "QUANTUM_URL": f"http://127.0.0.1:{port}/mcp",
        "QUANTUM_DATA_DIR": str(tmp_path / "data"),
    }
    todo: list[Step] = steps(page)
    assert [step.mark for step in todo].count("run in terminal 1") == starts
    shell = tmp_path / "shell"
    with terminals(environ) as opened:
        for step in todo:
            if step.mark == "interrupt terminal 1":
                opened.pop().interrupt()
                continue
            if step.mark == "run in terminal 1":
                opened.append(Terminal(step.script, environ))
                printed = opened[-1].wait_for(READY)
            else:
                printed = run_in(shell, step.script, environ)
            if step.expected is not None:
                printed = printed.replace(port, SHOWN_PORT)
                assert fits(step.expected, printed), f"{step.script}\nprinted\n{printed}\nnot\n{step.expected}"


def test_the_comparison_can_fail() -> None:
    assert fits("a ... c\n", "a b c")
    assert not fits("a ... c\n", "a b d")
    assert not fits("a\n", "a b")
