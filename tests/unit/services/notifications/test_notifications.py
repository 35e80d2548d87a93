"""Telling people and programs of events."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from reference.backends import free_port
from reference.listeners import HttpListener, http_listener, make_certificate, response, smtp_listener

from quantum_suite.core.errors import ConfigurationError, EngineError, Refused, Unavailable
from quantum_suite.core.events import Event, Position
from quantum_suite.services.cache.memory import MemoryCache
from quantum_suite.services.notifications.loading import load_rules
from quantum_suite.services.notifications.memory import MemoryChannel
from quantum_suite.services.notifications.notifier import Notifier, notifiers
from quantum_suite.services.notifications.rules import NotificationRules, Rule
from quantum_suite.services.notifications.templates import check_template, fill
from quantum_suite.services.outbound import OutboundClient, open_outbound

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(b"a very secret key").decode()


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("MAIL_PASSWORD", "mail-password")


@pytest.fixture
async def outbound() -> AsyncIterator[OutboundClient]:
    async with open_outbound(attempts=2, first_retry_seconds=0.01, timeout_seconds=5) as client:
        yield client


@pytest.fixture
async def listener() -> AsyncIterator[HttpListener]:
    async with http_listener() as listener:
        yield listener


def an_event(number: int = 1, **changes: Any) -> Event:
    given: dict[str, Any] = {
        "type": "qsecure.scan.completed.v1",
        "data": {"root": "/repo", "counts": {"critical": 2, "high": 0}, "scan": "s1"},
        "stream": "qsecure.scan/s1",
        "time": datetime(2026, 1, 1, 12, tzinfo=UTC),
    }
    return Event(Position(str(number)), version=1, id=f"evt_{number}", **(given | changes))


def a_rule(**changes: Any) -> Rule:
    given: dict[str, Any] = {
        "name": "serious",
        "events": ["qsecure.scan.completed"],
        "where": {"data.counts.critical": {"at_least": 1}},
        "channels": ["memory"],
        "title": "{data.counts.critical} critical in {data.root}",
        "text": "Scan {data.scan}",
    }
    return Rule.model_validate(given | changes)


def file_of(channel: dict[str, Any], **rule: Any) -> NotificationRules:
    given = {
        "name": "serious",
        "events": ["qsecure."],
        "channels": ["out"],
        "title": "{data.counts.critical} critical in {data.root}",
        "text": "Scan {data.scan}",
    }
    return NotificationRules.model_validate({"channels": {"out": channel}, "rules": [given | rule]})


def webhook(listener: HttpListener, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "webhook",
        "url": f"http://127.0.0.1:{listener.port}/hook",
        "secret": {"env": "HOOK_SECRET"},
        "allow_private_addresses": True,
        **changes,
    }


async def test_a_rule_tells_of_what_it_is_about_and_of_nothing_else() -> None:
    channel = MemoryChannel()
    notifier = Notifier(channel, [a_rule()], MemoryCache())
    await notifier.handle(an_event())
    await notifier.handle(an_event(2, data={"counts": {"critical": 0}}))
    await notifier.handle(an_event(3, data={}))
    await notifier.handle(an_event(4, type="qsecure.scan.started.v1"))
    (told,) = channel.sent
    assert (told.id, told.title, told.text) == ("evt_1.serious", "2 critical in /repo", "Scan s1")


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"data.root": {"equals": "/repo"}}, True),
        ({"data.root": {"equals": "/other"}}, False),
        ({"data.counts.critical": {"equals": 2}}, True),
        ({"data.counts.critical": {"equals": True}}, False),
        ({"data.counts.critical": {"at_least": 2, "at_most": 2}}, True),
        ({"data.counts.critical": {"at_most": 1}}, False),
        ({"data.root": {"at_least": 1}}, False),
        ({"data.root": {"one_of": ["/a", "/repo"]}}, True),
        ({"data.nothing": {"exists": False}}, True),
        ({"data.nothing": {"equals": None}}, True),
        ({"data.root.deeper": {"exists": True}}, False),
        ({"principal": {"exists": False}, "data.root": {"exists": True}}, True),
    ],
)
def test_conditions_compare_fields(where: dict[str, Any], wanted: bool) -> None:
    assert a_rule(where=where).wants(an_event()) is wanted


async def test_an_event_that_comes_again_is_told_once() -> None:
    channel, cache = MemoryChannel(), MemoryCache()
    for _ in range(2):
        await Notifier(channel, [a_rule()], cache).handle(an_event())
    assert len(channel.sent) == 1


async def test_the_same_thing_is_told_once_within_its_window() -> None:
    now = 0.0
    channel, cache = MemoryChannel(), MemoryCache(monotonic=lambda: now)
    rule = a_rule(deduplicate={"key": "{data.root}", "seconds": 60})
    notifier = Notifier(channel, [rule], cache)
    await notifier.handle(an_event(1))
    await notifier.handle(an_event(2))
    await notifier.handle(an_event(3, data={"root": "/other", "counts": {"critical": 1}}))
    now = 61
    await notifier.handle(an_event(4))
    assert [told.event.id for told in channel.sent] == ["evt_1", "evt_3", "evt_4"]


async def test_what_failed_is_not_taken_for_told() -> None:
    class Away(MemoryChannel):
        async def send(self, notification: Any) -> None:
            raise Unavailable("away")

    channel, cache = MemoryChannel("room"), MemoryCache()
    rule = a_rule(deduplicate={"key": "{data.root}", "seconds": 60})
    with pytest.raises(Unavailable):
        await Notifier(Away("room"), [rule], cache).handle(an_event())
    await Notifier(channel, [rule], cache).handle(an_event())
    assert len(channel.sent) == 1


def test_a_template_fills_in_fields_and_nothing_else() -> None:
    event = an_event(
        data={"a": "x" * 1000, "b": "line\r\nbreak\x1b[0m\u202e", "c": "{data.a}", "k": "xoxb-1234567890-abcdef"},
        personal={"key:ci": {"name": "Ada"}},
    )
    assert fill("{{{id}}} {data.none} {data.c}", event) == "{evt_1} ? {data.a}"
    assert len(fill("{data.a}", event)) == 500
    assert fill("{data.b}", event) == "line \nbreak [0m "
    assert fill("{data.k}", event) == "***"
    assert fill("{time}", event) == "2026-01-01T12:00:00+00:00"


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{data.x!r}", "{data.__class__}{}", "{0}", "{data[x]}", "{personal.x}", "{other}", "{a:>9}"],
)
def test_a_template_with_anything_but_fields_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"field of an event|a lone"):
        check_template(template)


async def test_a_webhook_is_signed_as_the_standard_lays_down(
    outbound: OutboundClient, listener: HttpListener
) -> None:
    (notifier,) = notifiers(file_of(webhook(listener)), outbound, MemoryCache())
    await notifier.handle(an_event())
    (request,) = listener.received
    signed = f"evt_1.serious.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(b"a very secret key", signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-id"] == "evt_1.serious"
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    body = json.loads(request.body)
    assert body["type"] == "qsecure.scan.completed.v1"
    assert body["data"]["title"] == "2 critical in /repo"
    assert body["data"]["event"]["specversion"] == "1.0"


async def test_personal_data_does_not_leave(outbound: OutboundClient, listener: HttpListener) -> None:
    (notifier,) = notifiers(file_of(webhook(listener)), outbound, MemoryCache())
    await notifier.handle(an_event(personal={"key:ci": {"name": "Ada Lovelace"}}))
    assert b"Lovelace" not in listener.received[0].body


async def test_a_webhook_that_is_away_is_retried_and_then_left_to_the_runner(
    outbound: OutboundClient, listener: HttpListener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    listener.answer = lambda _: response(503)
    (notifier,) = notifiers(file_of(webhook(listener)), outbound, MemoryCache())
    with pytest.raises(Unavailable):
        await notifier.handle(an_event())
    assert {request.headers["webhook-id"] for request in listener.received} == {"evt_1.serious"}
    assert len(listener.received) == 2
    listener.answer = lambda _: response(404)
    with pytest.raises(EngineError, match="answered 404"):
        await notifier.handle(an_event())
    assert "a very secret key" not in caplog.text
    assert SECRET not in caplog.text


async def test_private_addresses_are_called_only_where_the_operator_allows_it(
    outbound: OutboundClient, listener: HttpListener
) -> None:
    rules = file_of(webhook(listener, allow_private_addresses=False))
    (notifier,) = notifiers(rules, outbound, MemoryCache())
    with pytest.raises(Refused):
        await notifier.handle(an_event())
    assert listener.received == []


async def test_a_chat_room_gets_text_that_mentions_nobody(
    outbound: OutboundClient, listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOM", f"http://127.0.0.1:{listener.port}/services/T0/B0/secret")
    room = {"kind": "slack", "url": {"env": "ROOM"}, "allow_private_addresses": True}
    (notifier,) = notifiers(file_of(room), outbound, MemoryCache())
    await notifier.handle(an_event(data={"root": "<!channel> & <@U1>", "counts": {"critical": 1}, "scan": "s"}))
    (request,) = listener.received
    assert request.target == "/services/T0/B0/secret"
    text = json.loads(request.body)["text"]
    assert text == "*1 critical in &lt;!channel&gt; &amp; &lt;@U1&gt;*\nScan s"


def mail(port: int, ca_file: Path | None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "email",
        "host": "localhost",
        "port": port,
        "ca_file": ca_file,
        "username": "suite",
        "password": {"env": "MAIL_PASSWORD"},
        "sender": "suite@example.com",
        "recipients": ["ada@example.com", "grace@example.com"],
        **changes,
    }


async def test_mail_is_handed_over_encrypted_with_a_subject_of_one_line(
    tmp_path: Path, outbound: OutboundClient
) -> None:
    certificate = make_certificate(tmp_path)
    async with smtp_listener(certificate.server) as server:
        (notifier,) = notifiers(file_of(mail(server.port, certificate.file)), outbound, MemoryCache())
        nasty = "x\r\nBcc: everyone@example.com\r\n\r\nbody"
        await notifier.handle(an_event(data={"root": nasty, "counts": {"critical": 1}, "scan": "s"}))
        (message,) = server.messages
    text = message.decode()
    head = text.partition("\r\n\r\n")[0]
    assert "Message-ID: <evt_1.serious@example.com>" in head
    assert "To: ada@example.com, grace@example.com" in head
    assert "\r\nBcc:" not in head
    assert [one.split()[0] for one in server.commands].index("STARTTLS") < [
        one.split()[0] for one in server.commands
    ].index("AUTH")


async def test_a_password_is_not_sent_where_the_server_offers_no_encryption(
    tmp_path: Path, outbound: OutboundClient
) -> None:
    async with smtp_listener(None) as server:
        server.offers_tls = False
        (notifier,) = notifiers(file_of(mail(server.port, None)), outbound, MemoryCache())
        with pytest.raises(ConfigurationError):
            await notifier.handle(an_event())
        assert not [one for one in server.commands if one.startswith("AUTH")]


async def test_a_certificate_nobody_vouches_for_stops_the_mail(tmp_path: Path, outbound: OutboundClient) -> None:
    certificate = make_certificate(tmp_path)
    async with smtp_listener(certificate.server) as server:
        (notifier,) = notifiers(file_of(mail(server.port, None)), outbound, MemoryCache())
        with pytest.raises(ConfigurationError, match="cannot be used as configured"):
            await notifier.handle(an_event())
        assert server.messages == []


@pytest.mark.parametrize(
    ("verb", "reply", "error"),
    [
        ("RCPT", "450 try later", Unavailable),
        ("RCPT", "550 nobody here", EngineError),
        ("MAIL", "421 busy", Unavailable),
        ("MAIL", "550 not you", EngineError),
        ("AUTH", "535 wrong", ConfigurationError),
        ("DATA", "554 spam", EngineError),
    ],
)
async def test_a_mail_servers_refusals_are_told_apart(
    tmp_path: Path, outbound: OutboundClient, verb: str, reply: str, error: type[Exception]
) -> None:
    certificate = make_certificate(tmp_path)
    async with smtp_listener(certificate.server) as server:
        server.refuse = {verb: reply}
        (notifier,) = notifiers(file_of(mail(server.port, certificate.file)), outbound, MemoryCache())
        with pytest.raises(error):
            await notifier.handle(an_event())


async def test_a_mail_server_that_is_away_is_waited_for(outbound: OutboundClient) -> None:
    (notifier,) = notifiers(file_of(mail(free_port(), None)), outbound, MemoryCache())
    with pytest.raises(Unavailable):
        await notifier.handle(an_event())


async def test_each_channel_is_a_consumer_of_its_own(outbound: OutboundClient, listener: HttpListener) -> None:
    rules = NotificationRules.model_validate(
        {
            "channels": {"a": webhook(listener), "b": webhook(listener), "unused": webhook(listener)},
            "rules": [
                {"name": "r1", "events": ["qsecure."], "channels": ["a", "b"], "title": "x"},
                {"name": "r2", "events": ["hub."], "channels": ["b"], "title": "x"},
            ],
        }
    )
    made = {notifier.name: notifier.where.types for notifier in notifiers(rules, outbound, MemoryCache())}
    assert made == {"notifications.a": {"qsecure."}, "notifications.b": {"qsecure.", "hub."}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("channels: {}\nrules: [{name: r, events: [a.], channels: [x], title: t}]", "which is no channel"),
        ("channels: {}", "rules: Field required"),
        ("channels: {x: {kind: pigeon}}\nrules: []", "channels.x"),
        ("channels: {x: {kind: slack, url: https://hooks/secret}}\nrules: []", "channels.x.slack.url"),
        ("channels: {x: {kind: slack, url: {}}}\nrules: []", "name either env or file"),
        ("channels: {}\nrules: []\nextra: 1", "extra"),
        ("a: [", "is no YAML"),
        ("\x00", "is no YAML"),
        ("!!python/object/apply:os.system [ls]", "is no YAML"),
        ("just text", "the file"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_without_its_secrets(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "notifications.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        load_rules(path)
    assert problem in str(refusal.value)
    assert "hooks/secret" not in str(refusal.value)


async def test_a_file_names_secrets_and_never_holds_them(tmp_path: Path, outbound: OutboundClient) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    path = tmp_path / "notifications.yaml"
    path.write_text(
        "channels:\n"
        f"  team: {{kind: webhook, url: 'https://example.com/x', secret: {{file: {tmp_path / 'secret'}}}}}\n"
        "rules:\n"
        "  - {name: all, events: [qsecure.], channels: [team], title: '{type}'}\n"
    )
    (notifier,) = notifiers(load_rules(path), outbound, MemoryCache())
    assert notifier.name == "notifications.team"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        notifiers(load_rules(path), outbound, MemoryCache())
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")
