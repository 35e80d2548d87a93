"""What a model server can do wrong, as one tree below the suite's `EngineError`.

    ProviderError
    ├── Unreachable          no connection: nothing was asked
    ├── Silent               connected, but nothing (more) came in time
    ├── Overloaded           429, 503, 529: it says that it did not do it, and perhaps when to come back
    ├── Failed               another 5xx, or an error in place of an answer
    ├── StreamCut            the answer stopped before its end
    ├── Garbled              what came is no answer: bad JSON, an HTML page, a line without end
    └── Rejected             it understood and will not: asking it the same again is of no use
        ├── NotAdmitted      401, 403: the key is wrong or may not
        ├── NoSuchModel      404: the model or the address is wrong
        └── ContextOverflow  the request is longer than the model's context

A model call changes nothing in the world, so all but `Rejected` may be repeated; what forbids it is an answer
whose beginning somebody has already seen, which the gateway knows and the adapter does not.
"""

from typing import ClassVar

from quantum_suite.core.errors import EngineError


class ProviderError(EngineError):
    """A model server failed. `engine` is `provider/model`; `printed` is the bounded beginning of what it said."""

    safe_to_repeat: ClassVar[bool] = True
    """Whether the same request may be sent to the same server again."""

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        engine: str,
        printed: str = "",
        answered_anything: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, hint, engine=engine, printed=printed)
        self.answered_anything = answered_anything
        """Whether a part of an answer came, which is billed."""
        self.retry_after_seconds = retry_after_seconds
        """What the server said about when; None where it said nothing."""
        self.status = status
        """The HTTP status, where there was one."""

    @property
    def counts_against(self) -> bool:
        """Whether it says that the server is not well, to the circuit breaker."""
        return True


class Unreachable(ProviderError):
    """No connection came about."""


class Silent(ProviderError):
    """The server holds the connection open and says nothing."""


class Overloaded(ProviderError):
    """The server has too much to do, or the account its limit reached."""

    @property
    def counts_against(self) -> bool:
        """Not where it says when to come back, or that we ask too often: it is well, and left alone till then."""
        return self.retry_after_seconds is None and self.status != 429


class Failed(ProviderError):
    """The server says that it broke."""


class StreamCut(ProviderError):
    """The connection ended in the middle of the answer."""


class Garbled(ProviderError):
    """What came does not follow the protocol."""


class Rejected(ProviderError):
    """The server will not do it, and would not the next time."""

    safe_to_repeat = False

    @property
    def counts_against(self) -> bool:
        """A clear no is an answer."""
        return False


class NotAdmitted(Rejected):
    """The key is missing, wrong or not allowed to. Counts against the server: wrong keys get accounts locked."""

    @property
    def counts_against(self) -> bool:
        """Others would be refused just so."""
        return True


class NoSuchModel(Rejected):
    """There is no such model at that address."""


class ContextOverflow(Rejected):
    """The request does not fit into the model's context."""
