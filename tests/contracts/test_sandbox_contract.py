"""What every sandbox promises, put to the test by programs that mean harm."""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import psutil
import pytest

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.process_group import ProcessNotStarted
from quantum_suite.services.sandbox.bubblewrap import BubblewrapSandbox
from quantum_suite.services.sandbox.interface import Limits, Sandbox, SandboxCommand, SandboxRun
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.sandbox.rlimits import RlimitSandbox

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
SOME = Limits(
    seconds=20, memory_bytes=512 * MEBIBYTE, processes=40, file_bytes=16 * MEBIBYTE, output_bytes=100_000
)


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the sandbox keeps its temporary folders: nothing is left there."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve() / "place"
        yield place
        assert not place.exists() or not list(place.iterdir()), "a temporary folder was left behind"


@pytest.fixture(params=["strictest", "rlimits"])
async def sandbox(request: pytest.FixtureRequest, place: Path) -> Sandbox:
    """Resource limits alone, and what the machine offers: bubblewrap where it works."""
    if request.param == "rlimits":
        return RlimitSandbox(folder=place)
    return (await best_sandbox(folder=place)).sandbox


def python(program: str, *, cwd: Path, **options: object) -> SandboxCommand:
    options.setdefault("limits", SOME)
    options.setdefault("writable", [cwd])
    return SandboxCommand([sys.executable, "-S", "-c", program], cwd=cwd, **options)  # type: ignore[arg-type] # any field


def running(mark: str) -> list[psutil.Process]:
    """Processes whose arguments hold a mark."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.pid != os.getpid() and any(mark in part for part in process.cmdline())
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_output_exit_status_and_explanation_come_back(sandbox: Sandbox, tmp_path: Path) -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert (run.returncode, run.ended_by, run.stdout, run.stderr) == (3, "itself", b"out\n", b"err\n")
    assert not run.truncated
    assert run.isolation is sandbox.isolation
    assert run.explanation.startswith("It ended by itself with exit status 3. It ran ")
    assert 0 < run.seconds < 20


async def test_stdin_is_what_was_given_and_else_is_empty(sandbox: Sandbox, tmp_path: Path) -> None:
    program = "import sys; data = sys.stdin.buffer.read(); print(len(data), data[-1:])"
    given = b"x" * (3 * MEBIBYTE) + b"!"
    assert (await sandbox.run(python(program, cwd=tmp_path, stdin=given))).stdout == b"3145729 b'!'\n"
    assert (await sandbox.run(python(program, cwd=tmp_path))).stdout == b"0 b''\n"


async def test_stdin_that_nobody_reads_does_not_matter(sandbox: Sandbox, tmp_path: Path) -> None:
    run = await sandbox.run(python("print('done')", cwd=tmp_path, stdin=b"x" * (3 * MEBIBYTE)))
    assert (run.stdout, run.ended_by) == (b"done\n", "itself")


async def test_it_writes_to_its_folders_and_starts_in_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    program = "import os; open('made', 'w').write(os.getcwd())"
    run = await sandbox.run(python(program, cwd=tmp_path / "sub"))
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "sub/made").read_text() == str(tmp_path / "sub")


async def test_nothing_of_the_suites_environment_is_seen(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "hush-hush")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/ann/cache")
    program = (
        "import os; print(os.environ); print(os.listdir(os.environ['HOME'])); open(os.environ['HOME'] + '/x', 'w')"
    )
    run = await sandbox.run(python(program, cwd=tmp_path, env={"GIVEN": "yes"}))
    assert run.returncode == 0, run.stderr
    assert b"hush-hush" not in run.stdout
    assert b"/home/ann/cache" not in run.stdout
    assert b"'GIVEN': 'yes'" in run.stdout
    assert run.stdout.endswith(b"\n[]\n"), "its home is empty"


async def test_temporary_files_are_its_own_and_gone_afterwards(
    sandbox: Sandbox, tmp_path: Path, place: Path
) -> None:
    program = "import tempfile; print(tempfile.mkdtemp())"
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert run.returncode == 0, run.stderr
    assert not Path(run.stdout.decode().strip()).exists()
    assert list(place.iterdir()) == []


async def test_what_never_ends_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = uuid4().hex
    program = f"# {mark}\nimport time\nprint('here', flush=True)\nwhile True: time.sleep(1)"
    run = await sandbox.run(python(program, cwd=tmp_path, limits=Limits(seconds=1)))
    assert (run.ended_by, run.returncode, run.stdout) == ("timeout", -signal.SIGKILL, b"here\n")
    assert "did not finish within 1 seconds" in run.explanation
    assert running(mark) == []


async def test_what_ignores_signals_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    program = """
import signal, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True: time.sleep(1)
"""
    run = await sandbox.run(python(program, cwd=tmp_path, limits=Limits(seconds=1)))
    assert run.ended_by == "timeout"
    assert run.seconds < 10


async def test_a_signal_it_gave_itself_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    run = await sandbox.run(python("import os; os.kill(os.getpid(), 6)", cwd=tmp_path))
    assert (run.ended_by, run.returncode) == ("signal", -signal.SIGABRT)
    assert "SIGABRT" in run.explanation


# Each stops by itself soon: should a sandbox not hold it, the machine is not lost.
FORK_BOMBS = {
    "forks": "while time.time() < end: os.fork()",
    "sessions": "while time.time() < end: os.fork() or os.setsid()",
    "threads": "for _ in range(500): threading.Thread(target=time.sleep, args=(9,)).start()",
}


@pytest.mark.parametrize("kind", FORK_BOMBS)
async def test_who_makes_too_many_processes_or_threads_is_ended(
    sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    mark = uuid4().hex
    program = f"# {mark}\nimport os, threading, time\nend = time.time() + 3\n{FORK_BOMBS[kind]}"
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert run.ended_by == "processes", run
    assert "and may run 40" in run.explanation
    assert "refused more" in run.explanation or int(run.explanation.split("it ran ")[1].split()[0]) < 500
    assert running(mark) == []


async def test_who_fills_the_disk_with_one_file_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    program = "f = open('big', 'wb')\nwhile True:\n    f.write(bytes(1 << 20))"
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert run.ended_by == "disk", run
    assert (tmp_path / "big").stat().st_size <= SOME.file_bytes
    # The kernel refuses to make it larger; with blocks of the file system's own the folder may be full by then.
    assert "refused a write past the largest" in run.explanation or "it added 16 MiB to" in run.explanation


async def test_a_program_that_does_not_mind_the_limit_on_files_is_ended_by_it(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    command = SandboxCommand(
        ["/bin/sh", "-c", "exec cat /dev/zero > big"], cwd=tmp_path, writable=[tmp_path], limits=SOME
    )
    run = await sandbox.run(command)
    assert (run.ended_by, run.returncode) == ("disk", -signal.SIGXFSZ)


@pytest.mark.parametrize("where", ["cwd", "tmp", "unlinked"])
async def test_who_fills_the_disk_with_many_files_is_ended(sandbox: Sandbox, tmp_path: Path, where: str) -> None:
    program = f"""
import os, tempfile, time
os.chdir(tempfile.gettempdir() if {where!r} == "tmp" else ".")
kept = []
for number in range(60):
    kept.append(open(f"file-{{number}}", "wb"))
    kept[-1].write(os.urandom(1 << 20))
    kept[-1].flush()
    if {where!r} == "unlinked": os.unlink(f"file-{{number}}")
time.sleep(60)
"""
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert run.ended_by == "disk", run
    assert "and may" in run.explanation


async def test_folders_nested_without_end_hide_nothing_and_are_removed(sandbox: Sandbox, tmp_path: Path) -> None:
    program = """
import os, tempfile, time
os.chdir(tempfile.gettempdir())
for _ in range(2500):
    os.mkdir('d' * 50)
    os.chdir('d' * 50)
time.sleep(60)
"""
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert run.ended_by == "disk", run
    assert "nested folders more deeply" in run.explanation


async def test_what_was_there_before_does_not_count(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(os.urandom(20 * MEBIBYTE))
    run = await sandbox.run(python("import time; open('small', 'w').write('x'); time.sleep(0.3)", cwd=tmp_path))
    assert run.ended_by == "itself"


async def test_who_prints_without_end_is_ended_and_head_and_tail_are_kept(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    program = "print('first')\nnumber = 0\nwhile True:\n    number += 1\n    print(f'{number:08}' * 1000)"
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert run.ended_by == "output", run
    assert run.truncated
    assert run.stdout.startswith(b"first\n00000001")
    assert b"bytes left out" in run.stdout
    assert len(run.stdout) < SOME.output_bytes + 100


async def test_much_output_is_cut_without_ending_the_command(sandbox: Sandbox, tmp_path: Path) -> None:
    program = "import sys; sys.stderr.write('x' * 999_999 + 'end'); print('done')"
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert (run.ended_by, run.stdout, run.truncated) == ("itself", b"done\n", True)
    assert run.stderr.endswith(b"xend")


async def test_lines_are_handed_on_as_they_come(sandbox: Sandbox, tmp_path: Path) -> None:
    program = """
import os, time
print('one', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
print('two')
print('three', end='')
"""
    seen: list[bytes] = []

    async def on_line(line: bytes) -> None:
        seen.append(line)
        (tmp_path / "go").touch()

    run = await sandbox.run(python(program, cwd=tmp_path), on_line)
    assert seen == [b"one", b"two", b"three"]
    assert run.stdout == b"one\ntwo\nthree"


async def test_a_slow_listener_gets_every_line(sandbox: Sandbox, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def on_line(line: bytes) -> None:
        seen.append(line)
        if len(seen) % 1000 == 0:
            await anyio.sleep(0)

    await sandbox.run(python("for n in range(30000): print(n)", cwd=tmp_path), on_line)
    assert seen == [str(number).encode() for number in range(30_000)]


async def test_a_huge_line_is_handed_on_by_its_beginning(sandbox: Sandbox, tmp_path: Path) -> None:
    seen: list[int] = []

    async def on_line(line: bytes) -> None:
        seen.append(len(line))

    await sandbox.run(python("print('x' * 5_000_000); print('short')", cwd=tmp_path), on_line)
    assert seen == [MEBIBYTE, 5]


async def test_a_listener_that_fails_ends_the_command(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = uuid4().hex

    async def on_line(line: bytes) -> None:
        raise RuntimeError(line.decode())

    program = f"# {mark}\nimport time\nprint('hello', flush=True)\ntime.sleep(60)"
    with pytest.raises(RuntimeError, match="hello"):
        await sandbox.run(python(program, cwd=tmp_path), on_line)
    assert running(mark) == []


async def test_a_memory_hog_is_stopped(sandbox: Sandbox, tmp_path: Path) -> None:
    run = await sandbox.run(python("x = bytearray(1 << 30)", cwd=tmp_path))
    assert (run.ended_by, run.returncode) == ("memory", 1)
    assert "refused memory" in run.explanation


async def test_memory_that_many_share_out_among_them_is_counted(sandbox: Sandbox, tmp_path: Path) -> None:
    program = """
import os, time
for _ in range(8):
    if os.fork() == 0: break
hog = b'x' * (60 << 20)
time.sleep(60)
"""
    limits = Limits(seconds=20, memory_bytes=100 * MEBIBYTE)
    run = await sandbox.run(python(program, cwd=tmp_path, limits=limits))
    assert run.ended_by == "memory", run
    assert "together" in run.explanation


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2): os.close(descriptor)
        os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)', '{mark}'], {{}})
    os._exit(0)
os.wait()
time.sleep({then})
"""


@pytest.mark.parametrize("then", ["0", "600"])
async def test_a_daemon_that_left_group_session_and_environment_is_ended(
    sandbox: Sandbox, tmp_path: Path, then: str
) -> None:
    mark = uuid4().hex
    run = await sandbox.run(python(DAEMON.format(mark=mark, then=then), cwd=tmp_path, limits=Limits(seconds=2)))
    assert run.ended_by == ("itself" if then == "0" else "timeout")
    assert running(mark) == []


async def test_a_child_that_holds_the_output_open_does_not_hold_up_the_end(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    mark = uuid4().hex
    program = f"""
import subprocess, sys
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', {mark!r}])
print('bye')
"""
    run = await sandbox.run(python(program, cwd=tmp_path))
    assert (run.stdout, run.ended_by) == (b"bye\n", "itself")
    assert run.seconds < 10
    assert running(mark) == []


async def test_who_kills_its_parent_ends_nobody_but_itself(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = uuid4().hex
    program = f"""
# {mark}
import os, signal, time
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
try: os.kill(os.getppid(), signal.SIGKILL)
except PermissionError: pass
time.sleep(60)
"""
    run = await sandbox.run(python(program, cwd=tmp_path, limits=Limits(seconds=3)))
    assert run.ended_by in ("signal", "timeout")
    assert running(mark) == []


async def test_cancelled_it_leaves_nobody(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = uuid4().hex
    started = anyio.Event()

    async def on_line(line: bytes) -> None:
        started.set()

    program = DAEMON.format(mark=mark, then=600).replace("os.wait()", "os.wait(); print('up', flush=True)")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sandbox.run, python(program, cwd=tmp_path), on_line)
        await started.wait()
        assert running(mark)
        tasks.cancel_scope.cancel()
    assert running(mark) == []


async def test_a_program_that_does_not_exist_and_one_that_may_not_run_are_told(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no program")
    for name in ("no-such-program", "/no/such/program", "./text"):
        with pytest.raises(ProcessNotStarted, match="was not found"):
            await sandbox.run(SandboxCommand([name], cwd=tmp_path))
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "text").write_text("#!/no/such/interpreter\n")
    with pytest.raises(ProcessNotStarted, match="could not be started"):
        await sandbox.run(SandboxCommand(["./text"], cwd=tmp_path))
    with pytest.raises(ProcessNotStarted, match="command is empty"):
        await sandbox.run(SandboxCommand([], cwd=tmp_path))


async def test_a_folder_that_does_not_exist_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for options in (
        {"cwd": missing},
        {"cwd": tmp_path, "writable": [missing]},
        {"cwd": tmp_path, "readable": [missing]},
    ):
        with pytest.raises(ConfigurationError, match="missing does not exist"):
            await sandbox.run(SandboxCommand(["true"], **options))  # type: ignore[arg-type] # any field
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is not a folder"):
        await sandbox.run(SandboxCommand(["true"], cwd=tmp_path / "file"))


async def test_the_python_of_a_virtual_environment_works(sandbox: Sandbox, tmp_path: Path) -> None:
    run = await sandbox.run(
        SandboxCommand([sys.executable, "-c", "import anyio, ssl, sqlite3; print(anyio.__name__)"], cwd=tmp_path)
    )
    assert (run.stdout, run.returncode) == (b"anyio\n", 0), run.stderr


async def test_a_project_environment_made_elsewhere_works_through_a_link(sandbox: Sandbox, tmp_path: Path) -> None:
    project, copy = tmp_path / "project", tmp_path / "copy"
    project.mkdir()
    copy.mkdir()
    made = await sandbox.run(
        SandboxCommand(
            [sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=project, writable=[project], limits=SOME
        )
    )
    assert made.returncode == 0, made.stderr
    (copy / ".venv").symlink_to(project / ".venv")
    run = await sandbox.run(
        SandboxCommand(
            [str(copy / ".venv/bin/python"), "-c", "import sys; print(sys.prefix)"],
            cwd=copy,
            readable=[project / ".venv"],
        )
    )
    assert run.stdout.decode().strip() in (str(copy / ".venv"), str(project / ".venv")), run


async def test_several_run_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    runs: list[SandboxRun] = []

    async def one(number: int) -> None:
        runs.append(await sandbox.run(python(f"print({number})", cwd=tmp_path)))

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(one, number)
    assert sorted(run.stdout for run in runs) == [b"%d\n" % number for number in range(6)]


# --- what namespaces add ------------------------------------------------------------------------------------


@pytest.fixture
async def strict(place: Path) -> Sandbox:
    """Bubblewrap; where it cannot be had, the test is of how that is told."""
    return (await best_sandbox(folder=place)).sandbox


async def run_strictly(strict: Sandbox, command: SandboxCommand) -> SandboxRun | None:
    """Run where there are namespaces; None where there are none, which the result must say."""
    run = await strict.run(command)
    if strict.isolation is Isolation.RLIMITS:
        assert "limits alone" in run.explanation
        return None
    return run


async def test_only_granted_folders_are_seen(strict: Sandbox, tmp_path: Path) -> None:
    for name in ("granted", "readable", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    program = f"""
import os
def attempt(what):
    try: return what()
    except OSError as error: return type(error).__name__
top = {str(tmp_path)!r}
print(sorted(os.listdir(top)))
print(attempt(lambda: open(top + '/readable/file').read()))
print(attempt(lambda: open(top + '/readable/file', 'w')))
print(attempt(lambda: open(top + '/secret/file').read()))
print(attempt(lambda: open('/etc/shadow').read()))
print(attempt(lambda: open('/usr/x', 'w')), attempt(lambda: open('/x', 'w')), attempt(lambda: open('/dev/x', 'w')))
print(attempt(lambda: os.kill({os.getpid()}, 0)))
"""
    command = python(program, cwd=tmp_path / "granted", readable=[tmp_path / "readable"])
    run = await run_strictly(strict, command)
    if run is not None:
        assert run.stdout.decode().splitlines() == [
            "['granted', 'readable']",
            "readable",
            "OSError",
            "FileNotFoundError",
            "FileNotFoundError",
            "OSError OSError OSError",
            "ProcessLookupError",
        ], run


@pytest.mark.parametrize("program", ["/bin/sh", "/usr/bin/env", sys.executable])
async def test_no_program_brings_the_whole_system_or_a_home_with_it(
    strict: Sandbox, tmp_path: Path, program: str
) -> None:
    listing = "import os; print(*os.listdir('/'), *os.listdir(os.path.expanduser('~root')))"
    arguments = {"/bin/sh": ["-c", "ls / ~root"], "/usr/bin/env": ["ls", "/", "/root"]}.get(
        program, ["-c", listing]
    )
    run = await run_strictly(strict, SandboxCommand([program, *arguments], cwd=tmp_path, env={"LC_ALL": "C"}))
    if run is not None:
        seen = set(run.stdout.decode().split()) - {"/:", "/root:"}
        python_places = {Path(place).parts[1] for place in (sys.prefix, sys.base_prefix)} | {".pyenv"}
        system = {
            "bin",
            "dev",
            "etc",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "opt",
            "proc",
            "sbin",
            "tmp",
            "usr",
            "nix",
        }
        assert {"bin", "usr"} <= seen <= system | python_places, run


async def test_a_read_only_folder_inside_a_writable_one_stays_read_only(strict: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    program = "open('a', 'w')\nopen('inner/a', 'w')"
    run = await run_strictly(strict, python(program, cwd=tmp_path, readable=[tmp_path / "inner"]))
    if run is not None:
        assert b"Read-only file system: 'inner/a'" in run.stderr


async def test_the_network_is_away_unless_granted(strict: Sandbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = (
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5); print('in')"
        )
        without = await run_strictly(strict, python(program, cwd=tmp_path))
        granted = await strict.run(python(program, cwd=tmp_path, network=True))
    assert granted.stdout == b"in\n"
    if without is not None:
        assert b"ConnectionRefusedError" in without.stderr
        assert "without network" in without.explanation
        assert "with the network" in granted.explanation


async def test_no_privileges_are_had_nor_to_be_had(strict: Sandbox, tmp_path: Path) -> None:
    program = """
import ctypes
print([line for line in open('/proc/self/status') if line.startswith('CapEff')])
print(ctypes.CDLL(None).unshare(0x10000000))  # CLONE_NEWUSER
"""
    run = await run_strictly(strict, python(program, cwd=tmp_path))
    if run is not None:
        assert run.stdout == b"['CapEff:\\t0000000000000000\\n']\n-1\n"


async def test_shared_memory_counts_as_what_it_writes(strict: Sandbox, tmp_path: Path) -> None:
    program = """
import os, time
for number in range(60):
    open(f'/dev/shm/{number}', 'wb').write(os.urandom(1 << 20))
time.sleep(60)
"""
    run = await run_strictly(strict, python(program, cwd=tmp_path))
    if run is not None:
        assert run.ended_by == "disk"


# --- the choice ---------------------------------------------------------------------------------------------


async def test_without_bubblewrap_there_are_limits_alone_and_what_would_install_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = await best_sandbox(folder=place)
    assert choice.sandbox.isolation is Isolation.RLIMITS
    assert "apt-get install bubblewrap" in choice.reason


async def test_where_namespaces_are_forbidden_there_are_limits_alone_and_why(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = await best_sandbox(folder=place)
    assert choice.sandbox.isolation is Isolation.RLIMITS
    assert "No permissions to create new namespace" in choice.reason


async def test_an_older_bubblewrap_is_used_and_its_gap_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bwrap").write_text(
        '#!/bin/sh\nfor option in "$@"; do [ "$option" = --disable-userns ] && exit 1; done\nexit 0\n'
    )
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = await best_sandbox(folder=place)
    assert choice.sandbox.isolation is Isolation.BUBBLEWRAP
    assert "cannot forbid user namespaces inside" in choice.reason


async def test_elsewhere_than_on_linux_there_are_limits_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    choice = await best_sandbox(folder=place)
    assert choice.sandbox.isolation is Isolation.RLIMITS
    assert "Linux" in choice.reason


async def test_a_sandbox_that_cannot_be_made_is_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    sandbox = BubblewrapSandbox(str(tmp_path / "bwrap"), folder=place, may_nest=True)
    with pytest.raises(ConfigurationError, match="Creating new namespace failed"):
        await sandbox.run(SandboxCommand(["/bin/true"], cwd=tmp_path))


@pytest.mark.parametrize("made", ["RlimitSandbox(folder=place)", "(await best_sandbox(folder=place)).sandbox"])
async def test_when_the_suite_is_killed_so_is_the_command_with_its_daemons(
    place: Path, tmp_path: Path, made: str
) -> None:
    mark = uuid4().hex
    daemon = DAEMON.format(mark=mark, then=600).replace("os.wait()", "os.wait(); print('up', flush=True)")
    program = f"""
import anyio, os, sys
from pathlib import Path
from quantum_suite.services.sandbox.rlimits import RlimitSandbox
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.sandbox.interface import SandboxCommand
async def line(_): os.kill(os.getpid(), 9)
async def main():
    place = Path({str(place)!r})
    command = SandboxCommand([sys.executable, "-S", "-c", {daemon!r}], cwd=Path({str(tmp_path)!r}))
    await ({made}).run(command, line)
anyio.run(main)
"""
    killed = await anyio.run_process([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with anyio.fail_after(50):
        while running(mark):
            await anyio.sleep(0.05)
    while list(place.iterdir()):
        await best_sandbox(folder=place)


async def test_folders_of_killed_processes_are_swept(place: Path) -> None:
    program = f"""
import anyio, os
from pathlib import Path
from quantum_suite.services.sandbox.rlimits import RlimitSandbox
from quantum_suite.services.sandbox.interface import SandboxCommand
async def line(_): os.kill(os.getpid(), 9)
command = SandboxCommand(["sh", "-c", "echo; sleep 60"], cwd=Path("/"))
anyio.run(RlimitSandbox(folder=Path({str(place)!r})).run, command, line)
"""
    killed = await anyio.run_process([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(place.iterdir())) == 1
    deadline = time.monotonic() + 10
    while list(place.iterdir()) and time.monotonic() < deadline:
        await best_sandbox(folder=place)
    assert list(place.iterdir()) == []
