"""Where the `quantum` command starts, and where every error ends as a sentence."""

import atexit
import gc
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from quantum_suite.core.errors import SuiteError
from quantum_suite.hub.cli.commands import asking, auditing, managing, serving
from quantum_suite.hub.cli.commands.options import Json
from quantum_suite.hub.cli.console import say, write_json, write_line
from quantum_suite.hub.cli.exits import ExitCode, code_of, leaves

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {code.meaning}" for code in ExitCode)


def build_app() -> typer.Typer:
    """Return the command with all its subcommands, in the order a newcomer meets them."""
    app = typer.Typer(
        name="quantum",
        help="One MCP endpoint from which an AI assistant drives a whole DevSecOps platform.",
        epilog=EPILOG,
        callback=options,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    serving.declare(app)
    managing.declare_connect(app)
    asking.declare(app)
    managing.declare(app)
    auditing.declare(app)
    app.command()(version)
    return app


def say_version(asked: bool) -> None:
    """Say the version and leave."""
    if asked:
        version()
        raise typer.Exit


def options(
    asked: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=say_version, help="Show the version and leave."),
    ] = False,
) -> None:
    """What may stand before a command; `build_app` has the words that help shows."""


def version(as_json: Json = False) -> None:
    """Show the version of the suite and of Python."""
    import platform

    from quantum_suite import __version__

    if as_json:
        write_json({"version": __version__, "python": platform.python_version(), "platform": sys.platform})
    else:
        write_line(f"quantum-suite {__version__} (Python {platform.python_version()}, {sys.platform})")


def program() -> NoReturn:
    """Be the `quantum` program: `main`, and an end at once when everything is closed."""
    try:
        main()
    except SystemExit as leaving:
        _end_at_once(leaving)
        raise


def _end_at_once(leaving: SystemExit) -> None:
    """Do what the interpreter does at its end, but for taking everything apart: half a second, for a hub."""
    # Private, both of them: where they move, the interpreter does it all.
    wait_for_threads = getattr(threading, "_shutdown", None)
    run_exit_functions = getattr(atexit, "_run_exitfuncs", None)
    code = leaving.code or 0
    if wait_for_threads is None or run_exit_functions is None or not isinstance(code, int):
        return
    wait_for_threads()
    run_exit_functions()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # The interpreter says what there is to say of that.
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code; nothing but `QUANTUM_DEBUG=1` shows a traceback."""
    # What is imported and built at the start stays: looking through it each few hundred objects takes a sixth of
    # the time a command needs, and a part of every call of a hub.
    gc.set_threshold(20_000, 20, 20)
    try:
        build_app()(args=arguments, prog_name="quantum")
    except Exception as error:
        if os.environ.get("QUANTUM_DEBUG"):
            traceback.print_exception(error)
        sys.exit(_report(error))
    sys.exit(ExitCode.OK)


def _report(error: Exception) -> ExitCode:
    causes = list(leaves(error))
    for cause in causes:
        if isinstance(cause, SuiteError):
            say(f"Error: {cause.message}")
            if cause.hint:
                say(f"  {cause.hint}")
            return code_of(cause)
    say(f"Error: this should not have happened ({type(causes[0]).__name__}: {causes[0]}).")
    say("  Please report it; QUANTUM_DEBUG=1 before the command shows where it came from.")
    return ExitCode.FAILED
