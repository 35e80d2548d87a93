"""The history of one thing, as CloudEvents."""

import base64
import binascii
import re
from collections.abc import Sequence

import orjson

from quantum_suite.core.errors import NotFound
from quantum_suite.core.events import Event
from quantum_suite.core.uris import ResourceUri

_PLAIN = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*\.[A-Za-z0-9_.-]+")
_ENCODED = "b64-"


def stream_uri(stream: str, after_version: int = 0) -> str:
    """Return the URI of a stream: `qsecure.scan/s1` is `quantum://events/streams/qsecure.scan.s1`."""
    name = stream.replace("/", ".", 1)
    if not _PLAIN.fullmatch(name):
        name = _ENCODED + base64.urlsafe_b64encode(stream.encode()).decode().rstrip("=")
    return str(ResourceUri("events", "streams", name, f"after-{after_version}" if after_version else None))


def stream_named(name: str) -> str:
    """Return the stream that an id in a URI stands for; raises NotFound for what stands for none."""
    if not name.startswith(_ENCODED):
        module, _, rest = name.partition(".")
        aggregate, _, thing = rest.partition(".")
        return f"{module}.{aggregate}/{thing}"
    encoded = name.removeprefix(_ENCODED)
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise NotFound(f"There is no stream {name[:200]}.") from error


def stream_json(stream: str, events: Sequence[Event], next_after: int | None) -> str:
    """Return a page of a stream; `next` is the URI of the following one."""
    page = {
        "stream": stream,
        "events": [event.as_cloud_event() for event in events],
        "next": stream_uri(stream, next_after) if next_after is not None else None,
    }
    return orjson.dumps(page, option=orjson.OPT_INDENT_2).decode()
