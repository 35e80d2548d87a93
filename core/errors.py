"""What can go wrong, as one tree.

    SuiteError                  everything the suite reports on purpose
    ├── CallerError             a better call fixes it: names the argument and what would be right
    │   ├── NotFound            the thing named does not exist, or no longer does
    │   └── Conflict            somebody else changed it first: read again, then decide again
    ├── Refused                 policy says no; a better call does not help
    │   ├── Unauthenticated     nobody proved who is calling
    │   └── RateLimited         too many calls; says when to try again
    ├── EngineError             a scanner or provider failed: which one, what it printed, what to do
    │   └── EngineMissing       an optional engine is not installed; carries the command that installs it
    ├── Unavailable             a part is away; trying again later may help
    ├── Fenced                  a newer holder of the lease has written; this one must stop
    ├── Damaged                 what is stored is not what was written: altered, cut short or under a lost key
    └── ConfigurationError      a file or setting of the operator's is wrong: where, and what would be right

Anything outside the tree is a bug: callers see an opaque message with the call id, the log sees the traceback.
"""

from typing import ClassVar


class SuiteError(Exception):
    """An error a person can act on.

    `message` says what is wrong, `hint` what to do about it. `code` is stable across releases and is what
    programs may match on.
    """

    code: ClassVar[str] = "suite_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class CallerError(SuiteError):
    """The call is wrong; `argument` names the part to change, where one part is to blame."""

    code = "caller_error"

    def __init__(self, message: str, hint: str | None = None, *, argument: str | None = None) -> None:
        super().__init__(message, hint)
        self.argument = argument


class NotFound(CallerError):
    """The named thing does not exist, or no longer does."""

    code = "not_found"


class Conflict(CallerError):
    """What is there now is not what the caller reckoned with."""

    code = "conflict"


class Refused(SuiteError):
    """Policy forbids the call."""

    code = "refused"


class Unauthenticated(Refused):
    """The caller did not prove who it is."""

    code = "unauthenticated"


class RateLimited(Refused):
    """The caller's budget is spent; `retry_after_seconds` says when there is room again."""

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, hint: str | None = None, *, retry_after_seconds: float) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds


class EngineError(SuiteError):
    """An engine failed. `engine` names it; `printed` is the bounded tail of what it wrote."""

    code = "engine_error"

    def __init__(self, message: str, hint: str | None = None, *, engine: str, printed: str = "") -> None:
        super().__init__(message, hint)
        self.engine = engine
        self.printed = printed


class EngineMissing(EngineError):
    """An optional engine is not installed; `hint` says what installs it, and `command` is what is to be typed."""

    code = "engine_missing"

    def __init__(
        self, message: str, hint: str | None = None, *, engine: str, printed: str = "", command: str | None = None
    ) -> None:
        super().__init__(message, hint, engine=engine, printed=printed)
        self.command = command or hint


class Unavailable(SuiteError):
    """A part is away; trying again later may help."""

    code = "unavailable"
    retryable = True


class Fenced(SuiteError):
    """The writer's lease has passed to somebody else. It must stop, and start over as a newcomer."""

    code = "fenced"


class Damaged(SuiteError):
    """Stored data does not verify."""

    code = "damaged"


class ConfigurationError(SuiteError):
    """A setting or file of the operator's is wrong."""

    code = "configuration_error"
