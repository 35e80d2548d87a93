"""How the command ends: one number for each kind of end, and which error leads to which."""

from collections.abc import Iterator
from enum import IntEnum

from quantum_suite.core.errors import CallerError, ConfigurationError, Refused, SuiteError, Unavailable


class ExitCode(IntEnum):
    """What the shell is told."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    REFUSED = 4
    TAMPERED = 5
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """Say it in a few words, for the help and the manual."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the tool reported an error, a check failed, or an engine broke down",
    ExitCode.USAGE: "the command, an argument or a configuration file is wrong",
    ExitCode.UNAVAILABLE: "the hub or a server behind it cannot be reached",
    ExitCode.REFUSED: "not allowed: a key is missing, wrong or not entitled",
    ExitCode.TAMPERED: "the audit log does not verify: something in it was altered, dropped or inserted",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}


def code_of(error: SuiteError) -> ExitCode:
    """Return the exit code an error of the suite leads to."""
    if isinstance(error, CallerError | ConfigurationError):
        return ExitCode.USAGE
    if isinstance(error, Refused):
        return ExitCode.REFUSED
    if isinstance(error, Unavailable):
        return ExitCode.UNAVAILABLE
    return ExitCode.FAILED


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what went wrong, without the groups that task groups wrap it in."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
