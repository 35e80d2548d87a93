"""The command as a whole: help, version, and how every error ends."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
import typer
from commandline.running import Quantum

from quantum_suite import __version__
from quantum_suite.core.errors import (
    CallerError,
    ConfigurationError,
    EngineError,
    NotFound,
    RateLimited,
    Refused,
    SuiteError,
    Unavailable,
)
from quantum_suite.hub.cli import main as entry
from quantum_suite.hub.cli.exits import ExitCode, code_of, leaves
from quantum_suite.hub.mounts import ENTRY_POINTS

OF_FEW = ("psycopg", "nats", "valkey", "boto3", "chromadb", "onnxruntime", "numpy", "matplotlib", "pulumi", "dbos")
"""What most installations have no use for, or only later: it takes time at the start, and memory for good."""
HEAVY = ("anyio", "mcp", "uvicorn", "httpx2", "cedarpy", "orjson")


def test_help_names_every_exit_code(quantum: Quantum) -> None:
    ran = quantum("--help")
    assert ran.code == 0
    for code in ExitCode:
        assert f"{code.value}  {code.meaning}" in ran.out


def test_version_says_the_same_to_people_and_machines(quantum: Quantum) -> None:
    assert f"quantum-suite {__version__}" in quantum("version").out
    assert quantum("--version") == quantum("version")
    assert json.loads(quantum("version", "--json").out)["version"] == __version__


def test_a_misspelt_command_is_a_usage_error(quantum: Quantum) -> None:
    ran = quantum("sevrers")
    assert ran.code == ExitCode.USAGE
    assert "servers" in ran.err


def loaded(program: str, names: Sequence[str]) -> str:
    """Return which of these modules a program has loaded in the end."""
    told = f"{program}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", ["--help", "--version", "version", "call --help", "keys --help"])
def test_help_and_version_load_nothing_heavy(arguments: str) -> None:
    program = (
        "from quantum_suite.hub.cli.main import main\n"
        f"try:\n    main({arguments.split()!r})\nexcept SystemExit:\n    pass"
    )
    assert loaded(program, HEAVY) == "[]"


def test_a_hub_and_its_modules_load_no_library_that_few_need() -> None:
    program = (
        "from importlib.metadata import entry_points\nimport quantum_suite.hub.serve\n"
        f"for point in entry_points(group={ENTRY_POINTS!r}):\n    point.load()"
    )
    assert loaded(program, OF_FEW) == "[]"


def test_the_shell_can_complete_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quantum_suite.hub.cli"],
        env={"_QUANTUM_COMPLETE": "complete_bash", "COMP_WORDS": "quantum co", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["connect"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CallerError("x"), ExitCode.USAGE),
        (NotFound("x"), ExitCode.USAGE),
        (ConfigurationError("x"), ExitCode.USAGE),
        (Refused("x"), ExitCode.REFUSED),
        (RateLimited("x", retry_after_seconds=1), ExitCode.REFUSED),
        (Unavailable("x"), ExitCode.UNAVAILABLE),
        (EngineError("x", engine="e"), ExitCode.FAILED),
        (SuiteError("x"), ExitCode.FAILED),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: SuiteError, code: ExitCode) -> None:
    assert code_of(error) is code


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> typer.Typer:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def broken() -> None:
            raise error

        return app

    monkeypatch.setattr(entry, "build_app", build)


def test_an_error_ends_as_a_sentence_with_what_to_do(quantum: Quantum, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ExceptionGroup("tasks", [Unavailable("The hub is away.", "Start it.")]), monkeypatch)
    ran = quantum()
    assert (ran.code, ran.err) == (ExitCode.UNAVAILABLE, "Error: The hub is away.\n  Start it.\n")


def test_a_bug_shows_no_traceback_unless_asked_for(quantum: Quantum, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyError("oops"), monkeypatch)
    ran = quantum()
    assert ran.code == ExitCode.FAILED
    assert "Traceback" not in ran.err
    assert "KeyError" in ran.err
    monkeypatch.setenv("QUANTUM_DEBUG", "1")
    assert "Traceback" in quantum().err


def test_ctrl_c_has_its_own_exit_code(quantum: Quantum, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    ran = quantum()
    assert ran.code == ExitCode.INTERRUPTED
    assert "Traceback" not in ran.err


def test_foreign_text_cannot_steer_the_terminal(quantum: Quantum, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(Unavailable("\x1b[2Jcleared\u202e"), monkeypatch)
    assert quantum().err == "Error: \ufffd[2Jcleared\ufffd\n"


def test_groups_are_looked_through() -> None:
    inner = ValueError("x")
    group = BaseExceptionGroup("a", [ExceptionGroup("b", [inner]), KeyboardInterrupt()])
    assert [type(leaf) for leaf in leaves(group)] == [ValueError, KeyboardInterrupt]


PROGRAM = """
import atexit, sys, threading, time

class Module:
    def __del__(self):
        print("taken apart")

sys.modules["a module"] = Module()
atexit.register(print, "asked to be told")
threading.Thread(target=lambda: (time.sleep(0.2), print("waited for"))).start()
sys.argv = ["quantum", *sys.argv[1:]]
from quantum_suite.hub.cli.main import program
program()
"""


@pytest.mark.parametrize(("command", "code"), [("version", ExitCode.OK), ("nosuch", ExitCode.USAGE)])
def test_the_program_ends_at_once_and_owes_nobody_anything(command: str, code: ExitCode) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, command], capture_output=True, text=True, check=False)
    assert done.returncode == code
    *before, last = done.stdout.splitlines()
    assert "waited for" in before
    assert last == "asked to be told"
