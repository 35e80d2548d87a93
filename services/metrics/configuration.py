"""What the operator writes of sources: names, addresses, and credentials in the environment."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from quantum_suite.core.errors import ConfigurationError

_PAIR = re.compile(r"(?:(?P<name>[A-Za-z][A-Za-z0-9_-]{0,31})=)?(?P<url>\S+)")
_HEADER = re.compile(r"\s*(?P<name>[A-Za-z0-9-]{1,64}):\s*(?P<value>[\x21-\x7e][\x20-\x7e]{0,4000})")
_SCHEMES = ("http", "https", "prometheus-api-client+http", "prometheus-api-client+https")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a source is, and what is sent to be let in."""

    name: str
    url: str
    """Without a slash at its end, without credentials."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials included."""
    client: str = ""
    """The library it is spoken to with; empty for our own."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what is masked in the server's own words."""
        found = (value.partition(" ")[2] or value for value in self.headers.values())
        return tuple(value for value in found if len(value) >= 4)


def read_addresses(setting: str, text: str, environ: Mapping[str, str]) -> list[Address]:
    """Return what `text` names: `name=url` pairs separated by commas; one URL alone is called `default`.

    For a source NAME, `<setting>_<NAME>_TOKEN` is sent as a bearer token, `<setting>_<NAME>_USER` and
    `<setting>_<NAME>_PASSWORD` by basic authentication, and `<setting>_<NAME>_HEADERS` holds further headers
    (`X-Scope-OrgID: team-a`), separated by `;`. Raises ConfigurationError.
    """
    found: dict[str, Address] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _PAIR.fullmatch(part)
        if match is None:
            raise ConfigurationError(
                f"{setting}: a part is not of the form name=url.", "Use e.g. live=http://prometheus:9090."
            )
        name = match["name"] or "default"
        if name in found:
            raise ConfigurationError(f"{setting}: {name} is there twice.", "Give each source a name of its own.")
        url, client = _checked_url(setting, name, match["url"])
        found[name] = Address(name, url, _headers(setting, name, environ), client)
    return list(found.values())


def _checked_url(setting: str, name: str, url: str) -> tuple[str, str]:
    try:
        split = urlsplit(url)
        usable = split.scheme in _SCHEMES and bool(split.hostname) and (split.port is None or split.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{setting}: the address of {name} cannot be used.", f"Use one of {', '.join(_SCHEMES)}://host:port."
        )
    if split.username is not None or split.password is not None:
        raise ConfigurationError(
            f"{setting}: the address of {name} holds credentials, which would be shown with it.",
            f"Put them into {_variable(setting, name, 'USER')} and {_variable(setting, name, 'PASSWORD')}.",
        )
    if split.query or split.fragment:
        raise ConfigurationError(f"{setting}: the address of {name} has a query or a fragment.", "Leave it out.")
    client, _, scheme = split.scheme.rpartition("+")
    return f"{scheme}://{split.netloc}{split.path.rstrip('/')}", client


def _headers(setting: str, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    token = environ.get(_variable(setting, name, "TOKEN"), "")
    user = environ.get(_variable(setting, name, "USER"), "")
    password = environ.get(_variable(setting, name, "PASSWORD"), "")
    headers: dict[str, str] = {}
    if token and user:
        raise ConfigurationError(
            f"{setting}: {name} has both a token and a user.",
            f"Unset {_variable(setting, name, 'TOKEN')} or the user.",
        )
    if token:
        headers["authorization"] = f"Bearer {token}"
    elif user:
        headers["authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    variable = _variable(setting, name, "HEADERS")
    for part in filter(None, environ.get(variable, "").split(";")):
        match = _HEADER.fullmatch(part)
        if match is None:
            raise ConfigurationError(f"{variable}: a part is not of the form Name: value.")
        headers[match["name"].lower()] = match["value"].strip()
    return headers


def _variable(setting: str, name: str, what: str) -> str:
    return f"{setting}_{name.upper().replace('-', '_')}_{what}"
