"""Which hub a command talks to."""

from dataclasses import dataclass, field

DEFAULT_URL = "http://127.0.0.1:8765/mcp"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the hub is, as asked for.

    `url` None means the usual place, or a hub of the command's own where nothing answers there.
    """

    url: str | None = None
    key: str | None = field(default=None, repr=False)
    options: tuple[str, ...] = ()
    """What a hub of the command's own is started with."""
    own: bool = False
    """Whether to start one without asking around first."""
