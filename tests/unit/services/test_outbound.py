"""Calls to the outside."""

import time
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from reference.backends import free_port
from reference.listeners import HttpListener, Received, http_listener, make_certificate, response

from quantum_suite.core.errors import EngineError, Refused, Unavailable
from quantum_suite.services.outbound import OutboundClient, OutboundRequest, open_outbound

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[OutboundClient]:
    async with open_outbound(first_retry_seconds=0.01, timeout_seconds=5) as client:
        yield client


@pytest.fixture
async def listener() -> AsyncIterator[HttpListener]:
    async with http_listener() as listener:
        yield listener


def post(listener: HttpListener, *, idempotent: bool = True) -> OutboundRequest:
    url = f"http://127.0.0.1:{listener.port}/secret-path?token=hidden"
    return OutboundRequest("POST", url, {"x-a": "b"}, b"body", idempotent=idempotent, reach="private")


def in_turn(*answers: bytes | None) -> Iterator[bytes | None]:
    return iter(answers)


def scripted(listener: HttpListener, *answers: bytes | None) -> None:
    script = in_turn(*answers)
    listener.answer = lambda _: next(script)


async def test_a_request_arrives_as_it_was_made(client: OutboundClient, listener: HttpListener) -> None:
    listener.answer = lambda _: response(200, "x-reply: yes\r\n", b"hello")
    reply = await client.send(post(listener))
    assert (reply.status, reply.body, reply.headers["x-reply"]) == (200, b"hello", "yes")
    (request,) = listener.received
    assert (request.method, request.target, request.body) == ("POST", "/secret-path?token=hidden", b"body")
    assert request.headers["host"] == f"127.0.0.1:{listener.port}"
    assert request.headers["user-agent"] == "quantum-suite"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(client: OutboundClient, listener: HttpListener, status: int) -> None:
    scripted(listener, response(status), response(status), response(204))
    assert (await client.send(post(listener))).status == 204
    assert len(listener.received) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
async def test_what_will_not_pass_is_returned_at_once_and_redirects_are_not_followed(
    client: OutboundClient, listener: HttpListener, status: int
) -> None:
    listener.answer = lambda _: response(status, "location: http://127.0.0.1:1/\r\n")
    assert (await client.send(post(listener))).status == status
    assert len(listener.received) == 1


async def test_what_may_have_been_done_is_done_again_only_where_that_does_no_harm(
    client: OutboundClient, listener: HttpListener
) -> None:
    scripted(listener, None, response(204), response(500), None)
    assert (await client.send(post(listener))).status == 204
    assert (await client.send(post(listener, idempotent=False))).status == 500
    with pytest.raises(EngineError, match="not known"):
        await client.send(post(listener, idempotent=False))
    assert len(listener.received) == 4


async def test_retry_after_is_honoured(client: OutboundClient, listener: HttpListener) -> None:
    arrived: list[float] = []

    def answer(_: Received) -> bytes:
        arrived.append(time.monotonic())
        return response(204) if len(arrived) == 2 else response(503, "retry-after: 1\r\n")

    listener.answer = answer
    await client.send(post(listener))
    assert arrived[1] - arrived[0] >= 1


@pytest.mark.parametrize(
    "value", ["86400", formatdate(time.time() + 86400, usegmt=True), "9" * 50], ids=["seconds", "date", "endless"]
)
async def test_a_server_that_wants_more_patience_than_there_is_is_left_for_later(
    client: OutboundClient, listener: HttpListener, value: str
) -> None:
    listener.answer = lambda _: response(429, f"retry-after: {value}\r\n")
    with pytest.raises(Unavailable, match="answered 429"):
        await client.send(post(listener))
    assert len(listener.received) == 1


async def test_nonsense_in_retry_after_is_passed_over(client: OutboundClient, listener: HttpListener) -> None:
    scripted(listener, response(503, "retry-after: soon\r\n"), response(204))
    assert (await client.send(post(listener))).status == 204


async def test_after_the_last_attempt_it_is_unavailable_and_the_secret_address_is_not_told(
    client: OutboundClient,
) -> None:
    url = f"http://127.0.0.1:{free_port()}/secret-path"
    with pytest.raises(Unavailable, match="cannot be reached") as failure:
        await client.send(OutboundRequest("GET", url, reach="private"))
    assert "secret-path" not in f"{failure.value} {failure.value.__cause__!r}"
    assert "secret-path" not in repr(OutboundRequest("GET", url))


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://224.0.0.1/",
        "https://100.64.0.1/",
        "http://93.184.215.14/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "https:///nowhere",
    ],
)
async def test_addresses_that_are_not_public_are_refused(client: OutboundClient, url: str) -> None:
    with pytest.raises(Refused):
        await client.send(OutboundRequest("GET", url))


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0/", "http://[::]/"]
)
async def test_where_clouds_keep_credentials_is_never_called(client: OutboundClient, url: str) -> None:
    with pytest.raises(Refused):
        await client.send(OutboundRequest("GET", url, reach="private"))


async def test_a_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with http_listener(certificate.server) as listener:
        request = OutboundRequest("GET", f"https://localhost:{listener.port}/", reach="private")
        async with open_outbound(tls=certificate.client) as trusting:
            assert (await trusting.send(request)).status == 204
        async with open_outbound(attempts=1) as wary:
            with pytest.raises(Unavailable):
                await wary.send(request)
    assert [one.headers["host"] for one in listener.received] == [f"localhost:{listener.port}"]


async def test_an_endless_answer_is_cut(client: OutboundClient, listener: HttpListener) -> None:
    listener.answer = lambda _: response(200, body=b"x" * 1_000_000)
    assert len((await client.send(post(listener))).body) == 64 * 1024
