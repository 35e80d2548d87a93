"""Subprocesses: what they get, what they may do, and that none is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import psutil
import pytest

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.child_process import ChildGone, open_child
from quantum_suite.services.process import (
    ProcessNotStarted,
    ProcessOutputTooLarge,
    ProcessTimeout,
    minimal_environment,
    run,
)

pytestmark = pytest.mark.anyio

SPAWN = "import subprocess,sys,time; p=subprocess.Popen(['sleep','600']); print(p.pid, flush=True); "
"""A program that starts another one in its group, and prints its id."""

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0.01)


async def simply(command: list[str], **options: object) -> str:
    completed = await run(command, timeout_seconds=20, max_output_bytes=1_000_000, **options)  # type: ignore[arg-type]
    return completed.stdout.decode()


async def test_the_whole_output_and_the_exit_status_come_back() -> None:
    completed = await run(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"),
        timeout_seconds=20,
        max_output_bytes=100,
    )

    assert completed.returncode == 3
    assert completed.stdout == b"out\n"
    assert completed.stderr_tail == "err"
    assert not completed.truncated
    assert completed.duration_seconds > 0


async def test_standard_input_is_handed_over_whole_and_closed() -> None:
    assert await simply(["wc", "-c"], stdin=b"x" * 900_000) == "900000\n"


async def test_without_standard_input_a_reader_sees_its_end() -> None:
    assert await simply(["cat"]) == ""


async def test_the_environment_holds_what_is_allowed_and_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_SECRET", "do not pass me on")

    lines = (await simply(["env"], env={"GIVEN": "yes"})).splitlines()

    assert "GIVEN=yes" in lines
    assert any(line.startswith("PATH=") for line in lines)
    assert not any(line.startswith("SUITE_SECRET") for line in lines)
    assert "SUITE_SECRET" not in minimal_environment()


async def test_the_working_directory_is_the_one_given(tmp_path: Path) -> None:
    assert await simply(["pwd"], cwd=tmp_path) == f"{tmp_path.resolve()}\n"


async def test_no_shell_sees_the_command() -> None:
    assert await simply(["echo", "$HOME; `id`"]) == "$HOME; `id`\n"


async def test_lines_are_handed_on_in_order_while_a_slow_listener_slows_the_process() -> None:
    lines: list[bytes] = []

    async def listen(line: bytes) -> None:
        lines.append(line)
        await asyncio.sleep(0)

    out = await simply(["seq", "20000"], on_stdout_line=listen)

    assert lines == [str(number).encode() for number in range(1, 20_001)]
    assert out.endswith("20000\n")


async def test_a_last_line_without_newline_is_a_line() -> None:
    lines: list[bytes] = []

    async def listen(line: bytes) -> None:
        lines.append(line)

    await simply(["printf", "one\\ntwo"], on_stdout_line=listen)

    assert lines == [b"one", b"two"]


async def test_a_listener_that_fails_ends_the_process() -> None:
    seen: list[int] = []

    async def listen(line: bytes) -> None:
        seen.append(int(line))
        raise ValueError("I cannot")

    with pytest.raises(ExceptionGroup) as caught:
        await simply(python(SPAWN + "time.sleep(600)"), on_stdout_line=listen)

    assert caught.value.subgroup(ValueError)
    await eventually(lambda: not runs(seen[0]))


async def test_a_process_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = SPAWN.replace("print(p.pid, flush=True)", f"open({str(note)!r},'w').write(str(p.pid))")

    with pytest.raises(ProcessTimeout, match=r"within 1 seconds"):
        await run(python(program + "time.sleep(600)"), timeout_seconds=1, max_output_bytes=100)

    await eventually(lambda: not runs(int(note.read_text())))


async def test_a_process_that_ignores_the_polite_signal_is_killed() -> None:
    with pytest.raises(ProcessTimeout) as caught:
        await run(
            python(STUBBORN + "import time,sys; print('stubborn', file=sys.stderr, flush=True); time.sleep(600)"),
            timeout_seconds=0.5,
            max_output_bytes=100,
            grace_seconds=0.2,
        )

    assert caught.value.printed == "stubborn"


async def test_a_process_that_prints_too_much_is_ended() -> None:
    with pytest.raises(ProcessOutputTooLarge, match=r"yes wrote more than 1000 bytes"):
        await run(["yes"], timeout_seconds=20, max_output_bytes=1000)


async def test_cancelling_ends_the_whole_group() -> None:
    seen: list[int] = []

    async def listen(line: bytes) -> None:
        seen.append(int(line))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: simply(python(SPAWN + "time.sleep(600)"), on_stdout_line=listen))
        await eventually(lambda: bool(seen))
        assert runs(seen[0])
        tasks.cancel_scope.cancel()

    await eventually(lambda: not runs(seen[0]))


async def test_what_a_process_leaves_behind_is_ended_and_not_waited_for() -> None:
    left = int(await simply(python(SPAWN)))

    await eventually(lambda: not runs(left))


async def test_no_process_of_ours_is_left_after_many_runs() -> None:
    await simply(["true"])
    before = len(psutil.Process().children())

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(simply, ["true"])

    assert len(psutil.Process().children()) == before


@pytest.mark.parametrize(
    ("command", "cwd", "message"),
    [
        (["no-such-program-here"], None, "no-such-program-here was not found"),
        (["true"], "/no/such/directory", "/no/such/directory does not exist"),
        ([], None, "The command is empty"),
        (["/etc/passwd"], None, "may not be run"),
        (["true", "nul\0"], None, "could not be started"),
    ],
)
async def test_a_program_that_cannot_start_says_why(command: list[str], cwd: str | None, message: str) -> None:
    with pytest.raises(ProcessNotStarted, match=message):
        await run(command, cwd=cwd, timeout_seconds=5, max_output_bytes=100)


async def test_errors_turn_into_those_of_the_engine_the_process_was_started_for() -> None:
    late = ProcessTimeout("trivy did not finish.", "Wait.", program="trivy", printed="loading").as_engine_error(
        "trivy"
    )
    missing = ProcessNotStarted("trivy was not found.", "Install it.", program="trivy").as_engine_error("trivy")

    assert type(late) is EngineError
    assert (late.engine, late.printed, late.hint) == ("trivy", "loading", "Wait.")
    assert type(missing) is EngineMissing


async def test_secrets_on_stderr_are_masked() -> None:
    program = "import os,sys; print('key', os.environ['API_KEY'], 'ghp_' + 'a' * 36, file=sys.stderr)"

    completed = await run(python(program), env={"API_KEY": "hunter22"}, timeout_seconds=20, max_output_bytes=100)

    assert completed.stderr_tail == "key *** ***"


async def test_only_the_tail_of_stderr_is_kept() -> None:
    program = (
        "import sys; [print('line', n, file=sys.stderr) for n in range(1000)]; print('x'*9999, file=sys.stderr)"
    )

    completed = await run(python(program), timeout_seconds=20, max_output_bytes=100, max_stderr_lines=3)

    assert completed.truncated
    assert completed.stderr_tail.splitlines()[:2] == ["line 998", "line 999"]
    assert len(completed.stderr_tail) < 3000


# -- children that stay ---------------------------------------------------------------------------------------


class Heard:
    """Remembers what a child said."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ends: list[str] = []


async def test_a_child_answers_line_by_line() -> None:
    heard = Heard()

    async with await open_child(["cat"], on_line=heard.lines.append, on_end=heard.ends.append) as child:
        await child.send(b"one\ntw")
        await child.send(b"o\n" + b"x" * 500_000 + b"\n")
        await eventually(lambda: len(heard.lines) == 3)

    assert heard.lines == [b"one", b"two", b"x" * 500_000]
    assert child.returncode == 0


async def test_a_child_that_ends_says_how() -> None:
    heard = Heard()
    child = await open_child(
        python("import sys; print('bye'); sys.exit(4)"), on_line=heard.lines.append, on_end=heard.ends.append
    )

    await eventually(lambda: bool(heard.ends))

    assert heard.lines == [b"bye"]
    assert heard.ends == ["It ended with exit status 4."]
    with pytest.raises(ChildGone):
        child.write(b"hello?\n")
    await child.aclose()


async def test_a_child_ended_by_a_signal_says_so() -> None:
    heard = Heard()
    child = await open_child(["sleep", "600"], on_line=heard.lines.append, on_end=heard.ends.append)

    os.kill(child.pid, signal.SIGKILL)
    await eventually(lambda: bool(heard.ends))

    assert heard.ends == ["Signal 9 ended it."]
    await child.aclose()


async def test_a_line_over_the_bound_ends_the_conversation_not_the_memory() -> None:
    heard = Heard()
    child = await open_child(
        python("import sys\nwhile True: sys.stdout.write('x' * 65536)"),
        on_line=heard.lines.append,
        on_end=heard.ends.append,
        max_line_bytes=100_000,
    )

    await eventually(lambda: bool(heard.ends))
    await child.aclose()

    assert heard.lines == []
    assert heard.ends == ["It wrote a line longer than it may."]


async def test_a_child_that_does_not_read_is_waited_for_only_while_it_lives() -> None:
    heard = Heard()
    child = await open_child(["sleep", "600"], on_line=heard.lines.append, on_end=heard.ends.append)
    sent: list[bool] = []

    async def send() -> None:
        await child.send(b"x" * 10_000_000)
        sent.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await eventually(lambda: child.backed_up)
        assert not sent
        await child.aclose()

    assert sent == [True]


async def test_closing_a_child_ends_the_stubborn_and_their_children_too() -> None:
    heard = Heard()
    child = await open_child(
        python(STUBBORN + SPAWN + "time.sleep(600)"),
        on_line=heard.lines.append,
        on_end=heard.ends.append,
        grace_seconds=0.2,
    )
    await eventually(lambda: bool(heard.lines))
    grandchild = int(heard.lines[0])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child.aclose)
        tasks.start_soon(child.aclose)

    assert not runs(child.pid)
    assert not runs(grandchild)
    assert child.returncode == -signal.SIGKILL


async def test_the_last_words_of_a_child_are_kept() -> None:
    heard = Heard()
    child = await open_child(
        python("import sys; sys.stderr.write('no token sk-' + 'a' * 30 + '\\ncannot start'); sys.exit(1)"),
        on_line=heard.lines.append,
        on_end=heard.ends.append,
    )

    await child.aclose()

    assert child.stderr_tail == ["no token ***", "cannot start"]


PARENT = """
import anyio, sys
from quantum_suite.services.child_process import open_child
async def main():
    command = [sys.executable, "-S", "-c", {program!r}]
    child = await open_child(command, on_line=lambda line: print(line.decode(), flush=True), on_end=print)
    await anyio.sleep_forever()
anyio.run(main)
"""


async def test_children_and_theirs_die_with_a_parent_that_is_killed() -> None:
    """The child ignores its closed stdin and the polite signal; only the guard is left to end it."""
    program = STUBBORN + "import os; print(os.getpid(), flush=True); " + SPAWN + "time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(program=program)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child, grandchild = int(parent.stdout.readline()), int(parent.stdout.readline())
        assert runs(child)
        assert runs(grandchild)

        parent.kill()
        parent.wait()

        await eventually(lambda: not runs(child) and not runs(grandchild))
