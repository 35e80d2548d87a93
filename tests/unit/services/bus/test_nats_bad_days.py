"""The bus over a broker that is killed, hangs, loses its disk or throws the suite out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from reference.backends import Nats, running

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.services.bus.interface import Bus, Delivery, Message
from quantum_suite.services.bus.nats import NatsBus
from quantum_suite.services.bus.nats_connection import open_nats
from quantum_suite.services.bus.nats_stream import STREAM

pytestmark = pytest.mark.anyio

SUBJECT = "quantum.events.test.thing.happened"
BOUND_SECONDS = 30.0
ANSWER_SECONDS = 0.5


@asynccontextmanager
async def broker(directory: Path) -> AsyncIterator[tuple[Nats, NatsBus]]:
    with running(server := Nats(directory / "nats")):
        async with open_nats(server.url, answer_seconds=ANSWER_SECONDS) as connection:
            yield server, NatsBus(connection, ack_seconds=2)


def batch(*numbers: int) -> list[Message]:
    return [Message(str(number), SUBJECT, {"id": f"evt_{number}"}) for number in numbers]


async def published(bus: Bus, messages: list[Message]) -> None:
    """Publish as the relay does: again, until it goes through."""
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            try:
                return await bus.publish(messages)
            except Unavailable:
                await anyio.sleep(0.05)


async def taken(deliveries: AsyncIterator[Delivery], count: int) -> list[str]:
    """Return the ids of the next messages, repetitions left out as an inbox does, in order."""
    got: dict[str, None] = {}
    with anyio.fail_after(BOUND_SECONDS):
        while len(got) < count:
            delivery = await anext(deliveries)
            got[delivery.message.id] = None
            await delivery.ack()
    return list(got)


async def test_a_broker_killed_amid_publishing_has_every_acknowledged_message_once_and_in_order(
    tmp_path: Path,
) -> None:
    async with broker(tmp_path) as (server, bus):
        done = anyio.Event()

        async def publish() -> None:
            for first in range(0, 1200, 60):
                await published(bus, batch(*range(first, first + 60)))
            done.set()

        async def kill() -> None:
            for _ in range(4):
                if done.is_set():
                    return
                await anyio.sleep(0.05)  # a moment nobody chose
                server.kill()
                await anyio.to_thread.run_sync(server.start)

        async with bus.consume(SUBJECT, durable="consumer") as deliveries, anyio.create_task_group() as tasks:
            tasks.start_soon(publish)
            tasks.start_soon(kill)
            got = await taken(deliveries, 1200)
        assert got == [str(number) for number in range(1200)]


async def test_a_broker_that_hangs_is_away_within_a_bound_and_nothing_is_lost_or_out_of_order(
    tmp_path: Path,
) -> None:
    async with broker(tmp_path) as (server, bus), bus.consume(SUBJECT) as deliveries, bus.listen(SUBJECT) as heard:
        await bus.publish(batch(1, 2))
        server.pause()
        with anyio.fail_after(10 * ANSWER_SECONDS), pytest.raises(Unavailable):
            await bus.publish(batch(3, 4))
        server.unpause()
        await published(bus, batch(3, 4))
        await published(bus, batch(5))
        assert await taken(deliveries, 5) == ["1", "2", "3", "4", "5"]
        with anyio.fail_after(BOUND_SECONDS):
            assert (await anext(heard)).id == "1"


async def test_while_the_broker_is_away_publishing_says_so_at_once_and_consumers_and_listeners_wait(
    tmp_path: Path,
) -> None:
    async with (
        broker(tmp_path) as (server, bus),
        bus.consume(SUBJECT) as deliveries,
        bus.consume(SUBJECT, durable="consumer") as lasting,
        bus.listen(SUBJECT) as heard,
    ):
        server.kill()
        with pytest.raises(Unavailable) as away:
            await bus.publish(batch(1))
        assert f"127.0.0.1:{server.port}" in away.value.message
        await anyio.to_thread.run_sync(server.start)
        await published(bus, batch(1, 2))
        assert await taken(deliveries, 2) == ["1", "2"]
        assert await taken(lasting, 2) == ["1", "2"]
        with anyio.fail_after(BOUND_SECONDS):
            assert (await anext(heard)).id == "1"


async def test_a_broker_that_lost_its_disk_gets_its_stream_anew_and_consumers_go_on(tmp_path: Path) -> None:
    async with (
        broker(tmp_path) as (server, bus),
        bus.consume(SUBJECT) as deliveries,
        bus.consume(SUBJECT, durable="consumer") as lasting,
    ):
        await bus.publish(batch(1, 2))
        assert await taken(deliveries, 2) == await taken(lasting, 2) == ["1", "2"]
        server.kill()
        for path in sorted((tmp_path / "nats" / "jetstream").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        await anyio.to_thread.run_sync(server.start)
        await published(bus, batch(3, 4))
        assert await taken(deliveries, 2) == ["3", "4"]
        assert await taken(lasting, 2) == ["3", "4"]


async def test_a_consumer_deleted_at_the_broker_is_made_again_where_it_stood(tmp_path: Path) -> None:
    with running(server := Nats(tmp_path / "nats")):
        async with open_nats(server.url) as connection:
            bus = NatsBus(connection)
            async with bus.consume(SUBJECT, durable="consumer") as deliveries:
                await bus.publish(batch(1, 2))
                assert await taken(deliveries, 2) == ["1", "2"]
                await connection.request(f"$JS.API.CONSUMER.DELETE.{STREAM}.consumer")
                await bus.publish(batch(3, 4))
                assert await taken(deliveries, 2) == ["3", "4"]


async def test_a_message_stored_before_the_one_it_follows_is_refused_by_the_broker(tmp_path: Path) -> None:
    """What a connection lost in mid-batch can leave: the later part arrives, the earlier one does not."""
    with running(server := Nats(tmp_path / "nats")):
        async with open_nats(server.url) as connection:
            bus = NatsBus(connection)
            async with bus.consume(SUBJECT) as deliveries:
                await bus.publish(batch(1, 2))
                headers = {"Nats-Msg-Id": "4", "Nats-Expected-Last-Msg-Id": "3"}
                answer = await connection.request(SUBJECT, b"{}", headers)
                assert answer["error"]["err_code"] == 10070
                await bus.publish(batch(1, 2, 3, 4))
                assert await taken(deliveries, 4) == ["1", "2", "3", "4"]


async def test_two_publishers_at_once_lose_nothing(tmp_path: Path) -> None:
    async with broker(tmp_path) as (server, bus), open_nats(server.url) as other_connection:
        other = NatsBus(other_connection)
        async with bus.consume(SUBJECT) as deliveries, anyio.create_task_group() as tasks:
            tasks.start_soon(published, bus, batch(*range(200)))
            tasks.start_soon(published, other, batch(*range(200)))
            assert set(await taken(deliveries, 200)) == {str(number) for number in range(200)}


async def test_a_message_that_is_no_event_is_passed_over(tmp_path: Path) -> None:
    with running(server := Nats(tmp_path / "nats")):
        async with open_nats(server.url) as connection:
            bus = NatsBus(connection)
            async with bus.consume(SUBJECT) as deliveries, bus.listen(SUBJECT) as heard:
                for body in (b"{", b"[]", b"\xff"):
                    await connection.request(SUBJECT, body, {"Nats-Msg-Id": f"bad {body!r}"})
                await connection.request(SUBJECT, b"{}")
                await bus.publish(batch(1))
                assert await taken(deliveries, 1) == ["1"]
                with anyio.fail_after(BOUND_SECONDS):
                    assert (await anext(heard)).id == "1"


async def test_a_client_the_broker_threw_out_is_replaced(tmp_path: Path) -> None:
    with running(server := Nats(tmp_path / "nats")):
        async with open_nats(server.url) as connection:
            bus = NatsBus(connection)
            async with bus.consume(SUBJECT) as deliveries, bus.listen(SUBJECT) as heard:
                await (await connection.client()).close()
                await published(bus, batch(1))
                assert await taken(deliveries, 1) == ["1"]
                await until_heard(heard, bus)


async def until_heard(heard: AsyncIterator[Message], bus: Bus) -> None:
    """Publish until the listener, whose subscription went with the old client, hears again."""
    async with anyio.create_task_group() as tasks:

        async def publish() -> None:
            number = 100
            while True:
                await published(bus, batch(number))
                number += 1
                await anyio.sleep(0.1)

        tasks.start_soon(publish)
        with anyio.fail_after(BOUND_SECONDS):
            await anext(heard)
        tasks.cancel_scope.cancel()


async def test_an_event_larger_than_the_broker_takes_is_the_operators_to_mend(tmp_path: Path) -> None:
    async with broker(tmp_path) as (_, bus):
        with pytest.raises(ConfigurationError, match="max_payload"):
            await bus.publish([Message("1", SUBJECT, {"data": "x" * 2_000_000})])


async def test_a_broker_that_is_not_there_is_named_without_credentials(tmp_path: Path) -> None:
    port = Nats(tmp_path / "nats").port
    with pytest.raises(Unavailable) as away:
        async with open_nats(f"nats://user:secret@127.0.0.1:{port}", connect_seconds=0.3):
            pass
    assert f"127.0.0.1:{port}" in str(away.value)
    assert "secret" not in str(away.value)


async def test_a_broker_that_comes_after_the_suite_is_used_from_then_on(tmp_path: Path) -> None:
    server = Nats(tmp_path / "nats")
    async with open_nats(server.url, connect_seconds=0.3, must_answer=False) as connection:
        bus = NatsBus(connection)
        with pytest.raises(Unavailable):
            await bus.publish(batch(1))
        with running(server):
            async with bus.consume(SUBJECT) as deliveries, bus.listen(SUBJECT) as heard:
                await published(bus, batch(1))
                assert await taken(deliveries, 1) == ["1"]
                with anyio.fail_after(BOUND_SECONDS):
                    assert (await anext(heard)).id == "1"


@pytest.mark.parametrize("variable", ["NATS_CREDS", "NATS_CA"])
async def test_a_file_that_cannot_be_read_is_the_operators_to_mend(tmp_path: Path, variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        async with open_nats("nats://127.0.0.1:1", environment={variable: str(tmp_path / "missing")}):
            pass


class Guarded(Nats):
    """NATS that wants TLS, and a user and a password."""

    def command(self) -> list[str]:
        started = super().command()
        with (self.directory / "nats.conf").open("a") as config:
            config.write('authorization { user: "quantum", password: "hush" }\n')
            config.write(
                f'tls {{ cert_file: "{self.directory}/cert.pem", key_file: "{self.directory}/key.pem" }}\n'
            )
        return started


async def test_a_guarded_broker_is_reached_by_tls_with_credentials_in_the_url_and_not_without(
    tmp_path: Path,
) -> None:
    server = Guarded(tmp_path / "nats")
    certificate(server.directory)
    environment = {"NATS_CA": str(server.directory / "cert.pem")}
    with running(server):
        url = f"tls://quantum:hush@127.0.0.1:{server.port}"
        async with open_nats(url, environment=environment) as connection:
            bus = NatsBus(connection)
            async with bus.consume(SUBJECT) as deliveries:
                await bus.publish(batch(1))
                assert await taken(deliveries, 1) == ["1"]
        for wrong, trusted in ((url.replace("hush", "loud"), environment), (url, {})):
            with pytest.raises(Unavailable) as refused:
                async with open_nats(wrong, environment=trusted, connect_seconds=0.7):
                    pass
            assert trusted or "certificate" in refused.value.message
            assert "loud" not in str(refused.value)


def certificate(directory: Path) -> None:
    """Write a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
