"""Who may reach the endpoint from where."""

from pathlib import Path
from typing import Any

import pytest

from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.wire.rejection import Rejection
from quantum_suite.hub.wire.security import Gate


def gate(**values: Any) -> Gate:
    return Gate(HubSettings(data_dir=Path("unused"), **values))


def host_status(checked: Gate, host: bytes | None) -> int:
    for _ in range(2):  # the second time from memory
        try:
            checked.check_host(host)
        except Rejection as rejection:
            status = rejection.status
        else:
            status = 200
    return status


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:1", b"127.0.0.1:8765", b"[::1]:99", b"[::1]"])
def test_loopback_names_are_accepted_with_any_port(host: bytes) -> None:
    assert host_status(gate(), host) == 200


@pytest.mark.parametrize(
    "host",
    [b"evil.com", b"localhost.evil.com", b"127.0.0.1.nip.io", b"evil.com:8765", b"0.0.0.0", b"[::]", b"\xff"],
)
def test_other_names_are_refused(host: bytes) -> None:
    assert host_status(gate(), host) == 421
    assert host_status(gate(host="0.0.0.0"), host) == 421


@pytest.mark.parametrize("host", [None, b""])
def test_a_missing_host_is_refused(host: bytes | None) -> None:
    assert host_status(gate(), host) == 400


def test_the_bound_address_and_the_settings_names_are_accepted() -> None:
    checked = gate(host="192.168.1.5", allowed_hosts=("hub.example.com", "Other.example.com:444"))
    accepted = (b"192.168.1.5:8765", b"hub.example.com", b"hub.example.com:1", b"other.example.com:444")
    assert [host_status(checked, host) for host in accepted] == [200] * 4
    assert [host_status(checked, host) for host in (b"other.example.com", b"192.168.1.6")] == [421] * 2


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (b"http://localhost", True),
        (b"https://127.0.0.1:3000", True),
        (b"http://[::1]:5", True),
        (b"https://app.example.com", True),
        (b"https://APP.example.com/", True),
        (b"http://app.example.com", False),
        (b"https://app.example.com:444", False),
        (b"http://localhost.evil.com", False),
        (b"http://localhost@evil.com", False),
        (b"http://user@localhost", False),
        (b"http://localhost/path", False),
        (b"file://localhost", False),
        (b"null", False),
        (b"", False),
        (b"http://[", False),
        (b"\xff", False),
    ],
)
def test_origins_are_loopback_or_named(origin: bytes, accepted: bool) -> None:
    checked = gate(allowed_origins=("https://app.example.com",))
    for _ in range(2):
        if accepted:
            checked.check_origin(origin)
        else:
            with pytest.raises(Rejection) as caught:
                checked.check_origin(origin)
            assert caught.value.status == 403


@pytest.mark.parametrize(
    ("address", "headers", "loopback"),
    [
        ("127.0.0.1", {}, True),
        ("127.8.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("10.0.0.1", {}, False),
        ("fe80::1%eth0", {}, False),
        ("no address", {}, False),
        ("127.0.0.1", {b"x-forwarded-for": b"127.0.0.1"}, False),
        ("127.0.0.1", {b"forwarded": b"for=1.2.3.4"}, False),
        ("127.0.0.1", {b"via": b"1.1 gateway"}, False),
        ("127.0.0.1", {b"x-forwarded-proto": b"https"}, False),
    ],
)
def test_a_caller_is_local_by_its_address_unless_a_proxy_passed_it_on(
    address: str, headers: dict[bytes, bytes], loopback: bool
) -> None:
    assert gate().credentials((address, 1), headers).loopback is loopback
    assert gate().credentials(None, headers).loopback is False


@pytest.mark.parametrize(
    ("header", "token"),
    [(b"Bearer abc", "abc"), (b"bearer   abc ", "abc"), (b"Basic abc", None), (b"Bearer", ""), (b"", None)],
)
def test_only_bearer_tokens_are_taken(header: bytes, token: str | None) -> None:
    assert gate().credentials(("127.0.0.1", 1), {b"authorization": header}).bearer == token
