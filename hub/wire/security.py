"""Who may reach the endpoint from where: Host and Origin (DNS rebinding), and what proves a caller."""

import ipaddress
from urllib.parse import urlsplit

from quantum_suite.hub.call import INVALID_REQUEST, REFUSED, Credentials, RpcError
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.wire.rejection import Rejection

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_FORWARDED = (
    b"x-forwarded-for",
    b"forwarded",
    b"x-real-ip",
    b"via",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
)
_REMEMBERED = 1024


def split_host(text: str) -> tuple[str, str | None]:
    """Split `name:port`, `[v6]:port` or a bare name or address into lower-case name and port."""
    text = text.strip().lower()
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        return name, rest[1:] if rest.startswith(":") else None
    if text.count(":") > 1:
        return text, None
    name, colon, port = text.partition(":")
    return name, port if colon else None


def is_loopback(address: str) -> bool:
    """Whether an IP address (no name) is this machine's own."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


class Gate:
    """Decides by a request's headers and its peer's address, before its body is read.

    Verdicts that let pass are remembered by the header's bytes, so that the usual request costs two look-ups.
    """

    def __init__(self, settings: HubSettings) -> None:
        hosts = set(_LOOPBACK_NAMES)
        bound = settings.host.strip("[]").lower()
        if not _is_wildcard(bound):
            hosts.add(bound)
        self._any_port = hosts | {split_host(h)[0] for h in settings.allowed_hosts if split_host(h)[1] is None}
        self._exact = {split_host(h) for h in settings.allowed_hosts}
        self._origins = {origin.strip().rstrip("/").lower() for origin in settings.allowed_origins}
        self._good_hosts: set[bytes] = set()
        self._good_origins: set[bytes] = set()
        self._local_addresses: dict[str, bool] = {}
        self._local = Credentials("http", loopback=True)
        self._remote = Credentials("http", loopback=False)

    def check_host(self, host: bytes | None) -> None:
        """Raise `Rejection` 421 unless `Host` names this hub: DNS rebinding (CWE-350) shows in it alone."""
        if host in self._good_hosts:
            return
        if not host:
            raise Rejection(400, RpcError(INVALID_REQUEST, "The Host header is missing."))
        name, port = split_host(host.decode("latin-1"))
        if name not in self._any_port and (name, port) not in self._exact:
            raise Rejection(
                421,
                RpcError(
                    REFUSED,
                    f"Host {name[:100]!r} is not a name of this hub. Use a loopback name, or add it to "
                    "allowed_hosts (QUANTUM_ALLOWED_HOSTS).",
                ),
            )
        if len(self._good_hosts) < _REMEMBERED:
            self._good_hosts.add(host)

    def check_origin(self, origin: bytes | None) -> None:
        """Raise `Rejection` 403 for a web origin that is neither loopback nor allowed; programs send none."""
        if origin is None or origin in self._good_origins:
            return
        text = origin.decode("latin-1").strip().rstrip("/").lower()
        if text not in self._origins and not self._is_loopback_origin(text):
            raise Rejection(
                403,
                RpcError(
                    REFUSED,
                    f"Origin {text[:100]!r} may not call this hub. Add it to allowed_origins "
                    "(QUANTUM_ALLOWED_ORIGINS).",
                ),
            )
        if len(self._good_origins) < _REMEMBERED:
            self._good_origins.add(origin)

    def may_read(self, origin: bytes) -> bool:
        """Whether a page of this origin may read answers in a browser (CORS): only those named in the settings."""
        return origin.decode("latin-1").strip().rstrip("/").lower() in self._origins

    @staticmethod
    def _is_loopback_origin(text: str) -> bool:
        try:
            parts = urlsplit(text)
            bare = not (parts.path or parts.query or parts.fragment or parts.username)
            return bare and parts.scheme in ("http", "https") and parts.hostname in _LOOPBACK_NAMES
        except ValueError:
            return False

    def credentials(self, client: tuple[str, int] | None, headers: dict[bytes, bytes]) -> Credentials:
        """Return what the connection and the `Authorization` header say of the caller.

        A request that a proxy passed on is not local, wherever the proxy runs.
        """
        local = False
        if client is not None:
            known = self._local_addresses.get(client[0])
            if known is None:
                known = is_loopback(client[0])
                if len(self._local_addresses) < _REMEMBERED:
                    self._local_addresses[client[0]] = known
            local = known
        if local:
            for name in _FORWARDED:
                if name in headers:
                    local = False
        authorization = headers.get(b"authorization")
        if authorization is None:
            return self._local if local else self._remote
        scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
        if scheme.lower() != "bearer":
            return self._local if local else self._remote
        return Credentials("http", loopback=local, bearer=token.strip())
