"""What our own client asks a real Prometheus beside queries, and how it gets in."""

import datetime
import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from reference.backends import running
from reference.prometheus import PASSWORD, Prometheus, Watched

from quantum_suite.core.errors import CallerError, EngineError, SuiteError, Unavailable
from quantum_suite.services.metrics.interface import Window
from quantum_suite.services.metrics.limits import SourceLimits
from quantum_suite.services.metrics.opening import open_metrics

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["", "prometheus-api-client+"])
def url(request: pytest.FixtureRequest, watched: Watched) -> str:
    return f"{request.param}{watched.prometheus.url}"


async def test_rules_and_alerts_are_told(url: str, watched: Watched) -> None:
    watched.prometheus.wait_until('ALERTS{alertstate="firing"}')
    async with open_metrics(url, None, environ={}) as sources:
        (group,) = await sources.get().rules()
        (alert,) = await sources.get().alerts()
    assert (group.name, group.interval_seconds) == ("shop", 1)
    recording, firing, quiet = group.rules
    assert (recording.kind, recording.name) == ("recording", "job:shop_requests:rate5s")
    assert (firing.kind, firing.state, firing.health) == ("alerting", "firing", "ok")
    assert firing.alerts[0].labels["alertname"] == "ShopIsWatched"
    assert (quiet.state, quiet.for_seconds, quiet.query) == ("inactive", 60, "shop_queue_depth > 1000")
    assert (alert.state, alert.value, alert.annotations) == ("firing", 1, {"summary": "The shop is watched."})
    assert time.time() - 3600 < alert.active_at <= time.time()


async def test_targets_metadata_and_the_source_itself_are_told(url: str) -> None:
    async with open_metrics(url, None, environ={}) as sources:
        source = sources.get()
        (target,) = await source.targets()
        everything = await source.metadata()
        one = await source.metadata("shop_queue_depth")
        status = await source.status()
    assert (target.job, target.up, target.interval_seconds, target.last_error) == ("shop", True, 1, "")
    assert everything["shop_request_duration_seconds"].type == "histogram"
    assert {name: (said.type, said.help) for name, said in one.items()} == {
        "shop_queue_depth": ("gauge", "Orders that wait.")
    }
    assert status.product == "Prometheus"
    assert (status.version or "").startswith("2.")
    assert (status.series or 0) > 10
    assert status.oldest is not None


async def test_exemplars_lead_to_traces(url: str) -> None:
    now = time.time()
    async with open_metrics(url, None, environ={}) as sources:
        found = await sources.get().exemplars("shop_request_duration_seconds_bucket", Window(now - 3600, now, 1))
    assert found
    assert found[0].labels == {"trace_id": "trace-200"}
    assert found[0].series["__name__"] == "shop_request_duration_seconds_bucket"
    assert [one.time for one in found] == sorted(one.time for one in found)


async def test_what_only_the_server_can_tell_is_told_with_its_words(url: str) -> None:
    query = "shop_requests_total * on(job) group_left shop_request_duration_seconds_bucket"
    async with open_metrics(url, None, environ={}) as sources:
        with pytest.raises(CallerError, match=r"many-to-many|found duplicate series|multiple matches") as caught:
            await sources.get().instant(query, time.time())
    assert caught.value.argument == "query"


async def test_a_source_that_stops_answering_is_waited_for_in_bounded_time(tmp_path: Path) -> None:
    server = Prometheus(tmp_path / "prometheus")
    with running(server):
        async with open_metrics(
            server.url, None, environ={}, limits=SourceLimits(deadline_seconds=0.5)
        ) as sources:
            server.pause()
            with pytest.raises(Unavailable, match=r"within 0\.5 seconds"):
                await sources.get().instant("up", time.time())
            server.unpause()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate that signs itself, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


@pytest.fixture(scope="module")
def guarded(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that speaks TLS alone and asks for a password."""
    certificate = (authority / "certificate.pem", authority / "key.pem")
    server = Prometheus(tmp_path_factory.mktemp("guarded"), certificate=certificate)
    with running(server):
        yield server


async def ask(server: Prometheus, environ: dict[str, str]) -> SuiteError | None:
    async with open_metrics(server.url, None, environ=environ) as sources:
        try:
            await sources.get().instant("1", time.time())
        except SuiteError as error:
            return error
    return None


async def test_a_password_and_a_trusted_certificate_let_in(
    guarded: Prometheus, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"QUANTUM_METRICS_DEFAULT_USER": "admin", "QUANTUM_METRICS_DEFAULT_PASSWORD": PASSWORD}
    # Nobody vouches for the certificate yet.
    untrusted = await ask(guarded, named)
    assert isinstance(untrusted, Unavailable)
    assert "certificate" in str(untrusted)

    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "certificate.pem"))
    assert await ask(guarded, named) is None
    refused = await ask(guarded, {**named, "QUANTUM_METRICS_DEFAULT_PASSWORD": "another-one"})
    assert isinstance(refused, EngineError)
    assert "QUANTUM_METRICS_DEFAULT_TOKEN" in str(refused)
    assert "another-one" not in str(refused)
