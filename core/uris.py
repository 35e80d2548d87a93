"""The suite's own resource URIs: `quantum://<module>/<collection>/<id>[/<view>]`."""

import re
from dataclasses import dataclass

from quantum_suite.core.errors import CallerError

SCHEME = "quantum"
_PATTERN = re.compile(
    r"quantum://(?P<module>[a-z][a-z0-9]*)/(?P<collection>[a-z][a-z0-9-]*)/(?P<id>[A-Za-z0-9_\-.]+)"
    r"(?:/(?P<view>[a-z][a-z0-9-]*))?"
)


@dataclass(frozen=True, slots=True)
class ResourceUri:
    """One thing a module can show; `view` picks a rendering of it (`sarif`, `markdown`, ...)."""

    module: str
    collection: str
    id: str
    view: str | None = None

    def __str__(self) -> str:
        tail = f"/{self.view}" if self.view else ""
        return f"{SCHEME}://{self.module}/{self.collection}/{self.id}{tail}"


def parse_uri(text: str) -> ResourceUri:
    """Read a suite URI; raises CallerError with the grammar when `text` is none."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise CallerError(
            f"'{text}' is not a resource of the suite.",
            "The form is quantum://<module>/<collection>/<id>[/<view>].",
            argument="uri",
        )
    return ResourceUri(match["module"], match["collection"], match["id"], match["view"])
