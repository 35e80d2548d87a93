"""The supervisor, by itself: who is below it, and what it does to them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quantum_suite.services.sandbox import supervisor

LIMITS = ["40", str(1 << 20), str(1 << 30)]


def supervise(command: list[str], *, limits: list[str] = LIMITS) -> tuple[int, bytes, bytes]:
    """Run a command below a supervisor; returns status, output, and what it reported."""
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", supervisor.__file__, *limits, str(write), *command],
            capture_output=True,
            pass_fds=[write],
            check=False,
        )
        os.set_blocking(read, False)
        try:
            report = os.read(read, 1000)
        except BlockingIOError:
            report = b""
        return done.returncode, done.stdout, report
    finally:
        os.close(read)
        os.close(write)


def test_it_ends_as_the_command_did() -> None:
    assert supervise(["/bin/sh", "-c", "echo out; exit 7"]) == (7, b"out\n", b"")
    assert supervise(["/bin/sh", "-c", "kill -USR1 $$"])[0] == -signal.SIGUSR1


def test_what_hinders_a_command_is_reported(tmp_path: Path) -> None:
    status, _, report = supervise([str(tmp_path / "missing")])
    assert status == 127
    assert report.startswith(b"hindrance [Errno 2] No such file or directory")


def test_too_many_processes_are_reported_and_ended() -> None:
    command = ["/bin/sh", "-c", "for n in 1 2 3 4 5 6; do sleep 60 & done; wait"]
    status, _, report = supervise(command, limits=["4", *LIMITS[1:]])
    assert status == 128 + signal.SIGKILL
    assert report.split()[0] == b"processes"
    assert int(report.split()[1]) > 4


def test_it_keeps_no_output_of_the_command_open() -> None:
    status, out, _ = supervise(["/bin/sh", "-c", "sleep 60 & echo done"])
    assert (status, out) == (0, b"done\n")


def test_the_command_has_no_pipe_of_the_supervisors() -> None:
    _, out, _ = supervise(["/bin/sh", "-c", "ls /proc/self/fd"])
    # The three standard ones, and the folder that `ls` reads.
    assert len(out.split()) == 4, out


def test_limits_hold_in_the_command_and_cannot_be_raised() -> None:
    program = """
import resource
for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA):
    print(*resource.getrlimit(limit))
"""
    _, out, _ = supervise([sys.executable, "-c", program])
    assert out.decode().splitlines() == ["0 0", f"{1 << 20} {1 << 20}", f"{1 << 30} {1 << 30}"]


def test_processes_below_are_counted_with_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = supervisor._threads_below(1000)
    program = "import threading; threading.Thread(target=input).start(); print('up', flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert supervisor._threads_below(1000) == before + 2
        assert child.pid in supervisor._below()
        child.communicate(b"\n")
    assert child.pid not in supervisor._below()
    assert supervisor._threads_of_user() > 0
