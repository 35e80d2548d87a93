"""Real Prometheus and Alertmanager (from Debian) over a small real exporter, for tests and benches.

    shop = Shop(directory / "shop")
    source = Prometheus(directory / "prometheus", shop)
    with running(shop), running(source):
        source.wait_until("rate(shop_requests_total[5s])")

Everything is scraped and evaluated once a second. A test waits for what it wants to see with `until`.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reference.backends import Backend, _program, free_port, running

Found = TypeVar("Found")

PATIENCE_SECONDS = 60.0
PASSWORD = "test"
"""Of the user `admin`, where a server asks for one."""
_PASSWORD_HASH = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"


def until(
    look: Callable[[], Found | None],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    instead: Callable[[], object] = lambda: "",
) -> Found:
    """Return what `look` finds, asking until it is there; raises AssertionError naming what did not come, and what
    there is `instead`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"did not come within {seconds:g} s: {what} {instead()}"
        time.sleep(0.1)  # a server in another process has no other sign
    return found


class Shop(Backend):
    """The exporter of `reference.shop_exporter`. Killed and started again, its counters begin at 0."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("shop_exporter.py")), str(self.port)]

    def answers(self) -> bool:
        return _is_ok(f"{self.url}/metrics")

    def behave(self, **behaviour: float) -> None:
        """Set any of requests_per_second, error_ratio, latency_seconds and queue_depth from now on."""
        _post(f"{self.url}/behaviour", json.dumps(behaviour).encode())


class Alertmanager(Backend):
    """Alertmanager that groups by alert name and passes on at once, to a webhook where one is given."""

    def __init__(self, directory: Path, webhook: str | None = None, *, key: str | None = None) -> None:
        """`key` is sent to the webhook as a bearer token."""
        super().__init__(directory)
        self._config = directory / "alertmanager.yml"
        self._key = key
        self._write(webhook)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            _debian("prometheus-alertmanager"),
            f"--config.file={self._config}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]

    def answers(self) -> bool:
        return _is_ok(f"{self.url}/-/ready")

    def alerts(self) -> Any:
        """Return the alerts it holds, in the form of its API."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as reply:
            return json.load(reply)

    def tell(self, webhook: str | None) -> None:
        """Send alerts to this URL from now on; None for nobody."""
        self._write(webhook)
        _post(f"{self.url}/-/reload", b"")

    def _write(self, webhook: str | None) -> None:
        receiver: dict[str, Any] = {"name": "on-call"}
        if webhook is not None:
            target: dict[str, Any] = {"url": webhook, "send_resolved": True}
            if self._key is not None:
                target["http_config"] = {"authorization": {"credentials": self._key}}
            receiver["webhook_configs"] = [target]
        route = {
            "receiver": "on-call",
            "group_by": ["alertname"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        }
        self._config.write_text(json.dumps({"route": route, "receivers": [receiver]}))


class Prometheus(Backend):
    """Prometheus that scrapes each second. Rules are files that can be exchanged while it runs.

    With `certificate` (a file with the certificate and one with its key) it speaks TLS and asks for a password.
    """

    def __init__(
        self,
        directory: Path,
        shop: Shop | None = None,
        *,
        alertmanager: Alertmanager | None = None,
        jobs: Mapping[str, Sequence[str]] | None = None,
        certificate: tuple[Path, Path] | None = None,
        rule_files: Sequence[str] = (),
    ) -> None:
        """`jobs` are further ones: name -> `host:port` of its targets. So are `rule_files`, as patterns."""
        super().__init__(directory)
        self._alertmanager = alertmanager
        self._jobs = {**({"shop": [f"127.0.0.1:{shop.port}"]} if shop else {}), **(jobs or {})}
        self._certificate = certificate
        self._rule_files = rule_files
        self._rules = directory / "rules"
        self._rules.mkdir(exist_ok=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"

    def backfill(self, openmetrics: str) -> None:
        """Give it a past, in OpenMetrics text with timestamps. Before it is started."""
        text = self.directory / "past.om"
        text.write_text(openmetrics)
        subprocess.run(
            [_debian("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, self.directory / "data"],
            check=True,
            capture_output=True,
        )

    def write_rules(self, name: str, content: str) -> None:
        """Put a rule file (YAML) there; `reload` has it read."""
        (self._rules / f"{name}.yml").write_text(content)

    def remove_rules(self, name: str) -> None:
        """Take a rule file away; `reload` has it forgotten."""
        (self._rules / f"{name}.yml").unlink(missing_ok=True)

    def reload(self) -> None:
        """Have it read its rules again; raises AssertionError with its words when they are wrong."""
        _post(f"{self.url}/-/reload", b"")

    def ask(self, path: str, **parameters: str) -> Any:
        """Return `data` of an answer of its API, for tests that look past our own client."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as reply:
            return json.load(reply)["data"]

    def value(self, query: str) -> float | None:
        """Return the value of the first series of an instant query; None where there is none."""
        found = self.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def wait_until(self, query: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a query has a result."""
        until(lambda: self.value(query) is not None, query, seconds)

    def command(self) -> list[str]:
        self._write_config()
        options = [
            _debian("prometheus"),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            "--storage.tsdb.retention.time=400d",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            "--enable-feature=exemplar-storage",
            # An alert whose sending failed is sent again at once, not a minute later.
            "--rules.alert.resend-delay=1s",
            "--log.level=error",
        ]
        if self._certificate is not None:
            options.append(f"--web.config.file={self.directory / 'web.yml'}")
        return options

    def answers(self) -> bool:
        return _listens(self.port) if self._certificate is not None else _is_ok(f"{self.url}/-/ready")

    def _write_config(self) -> None:
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "storage": {"exemplars": {"max_exemplars": 1000}},
            "rule_files": [str(self._rules / "*.yml"), *self._rule_files],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]}
                for job, targets in self._jobs.items()
            ],
        }
        if self._alertmanager is not None:
            places = [{"targets": [f"127.0.0.1:{self._alertmanager.port}"]}]
            config["alerting"] = {"alertmanagers": [{"static_configs": places}]}
        (self.directory / "prometheus.yml").write_text(json.dumps(config))
        if self._certificate is not None:
            certificate, key = self._certificate
            web = {
                "tls_server_config": {"cert_file": str(certificate), "key_file": str(key)},
                "basic_auth_users": {"admin": _PASSWORD_HASH},
            }
            (self.directory / "web.yml").write_text(json.dumps(web))


@dataclass(frozen=True, slots=True)
class Past:
    """What was measured before anybody looked: three series, one point a minute for two hours, long over."""

    start: int
    """Unix seconds, a whole hour some hours ago."""
    minutes: int = 120

    @property
    def times(self) -> list[int]:
        """Return when each was measured."""
        return [self.start + 60 * minute for minute in range(self.minutes)]

    def series(self) -> list[tuple[dict[str, str], list[float]]]:
        """Return labels and values: a counter with a restart in it, another without, and a gauge with a gap."""
        one = [float(minute if minute < 90 else minute - 90) for minute in range(self.minutes)]
        other = [float(2 * minute) for minute in range(self.minutes)]
        gauge = [20.0 + minute % 10 for minute in range(self.minutes)]
        return [
            ({"__name__": "past_orders_total", "instance": "a:1", "job": "past"}, one),
            ({"__name__": "past_orders_total", "instance": "b:1", "job": "past"}, other),
            ({"__name__": "past_temperature_celsius", "instance": "a:1", "job": "past"}, gauge),
        ]

    def missing(self, name: str, minute: int) -> bool:
        """Whether a point of a series was never taken."""
        return name == "past_temperature_celsius" and 50 <= minute < 80

    def openmetrics(self) -> str:
        """Return it as promtool reads it."""
        lines = ["# TYPE past_orders counter", "# TYPE past_temperature_celsius gauge"]
        for labels, values in self.series():
            text = ",".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
            lines += [
                f"{labels['__name__']}{{{text}}} {value:g} {at}"
                for minute, (at, value) in enumerate(zip(self.times, values, strict=True))
                if not self.missing(labels["__name__"], minute)
            ]
        return "\n".join([*lines[:1], *lines[2:242], lines[1], *lines[242:], "# EOF", ""])


@dataclass(frozen=True, slots=True)
class Watched:
    """A shop, what watches it, and what its alerts go to."""

    shop: Shop
    prometheus: Prometheus
    alertmanager: Alertmanager
    past: Past


@contextmanager
def watched_shop(
    directory: Path, webhook: str | None = None, rules: Mapping[str, str] | None = None
) -> Iterator[Watched]:
    """Run all three, scraped once at least, with rule files (YAML) by name.

    A test that changes the shop's behaviour takes one of its own.
    """
    shop = Shop(directory / "shop")
    alertmanager = Alertmanager(directory / "alertmanager", webhook)
    prometheus = Prometheus(directory / "prometheus", shop, alertmanager=alertmanager)
    past = Past(int(time.time()) // 3600 * 3600 - 6 * 3600)
    prometheus.backfill(past.openmetrics())
    for name, content in (rules or {}).items():
        prometheus.write_rules(name, content)
    with running(shop), running(alertmanager), running(prometheus):
        prometheus.wait_until("rate(shop_requests_total[5s])")
        yield Watched(shop, prometheus, alertmanager, past)


STANDING_RULES = """\
groups:
  - name: shop
    rules:
      - record: job:shop_requests:rate5s
        expr: sum by (job) (rate(shop_requests_total[5s]))
      - alert: ShopIsWatched
        expr: up{job="shop"} == 1
        labels: {severity: info}
        annotations: {summary: "The shop is watched."}
      - alert: ShopIsSlow
        expr: shop_queue_depth > 1000
        for: 1m
"""
"""One rule that records, one alert that fires as long as the shop is up, and one that does not."""


def nobody_listens() -> str:
    """Return the URL of a port of this machine that refuses connections."""
    return f"http://127.0.0.1:{free_port()}"


def _debian(program: str) -> str:
    try:
        return _program(program)
    except RuntimeError as error:
        raise RuntimeError(f"{program} is missing: apt-get install prometheus prometheus-alertmanager") from error


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, method="POST", headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            reply.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.read().decode(errors='replace')}") from error
