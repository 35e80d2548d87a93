"""Alertmanager, over its HTTP API v2."""

import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson

from quantum_suite.core.errors import CallerError, EngineError, NotFound
from quantum_suite.services.metrics.answers import WRONG_SHAPE, instant_of, listed
from quantum_suite.services.metrics.http_api import Ask, HttpApi
from quantum_suite.services.metrics.interface import (
    AlertManagerStatus,
    Matcher,
    ReceivedAlert,
    Silence,
)

Read = TypeVar("Read")

_JSON = "application/json"


class HttpAlertManager:
    """One Alertmanager, or one cluster of them behind an address."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api

    @property
    def name(self) -> str:
        """Return what it is called in the settings."""
        return self._api.address.name

    async def alerts(self, matchers: Sequence[str] = ()) -> list[ReceivedAlert]:
        """Return the alerts that all matchers fit, silenced and inhibited ones included."""
        query = urllib.parse.urlencode([("filter", matcher) for matcher in matchers])
        said = await self._ask(
            Ask("GET", f"/api/v2/alerts?{query}" if query else "/api/v2/alerts", argument="matchers")
        )
        return self._read(lambda: [_alert(each) for each in listed(said)], "alerts")

    async def silences(self) -> list[Silence]:
        """Return silences, those that begin last first."""
        said = await self._ask(Ask("GET", "/api/v2/silences", argument="alert_manager"))
        found = self._read(lambda: [_silence(each) for each in listed(said)], "silences")
        return sorted(found, key=lambda silence: silence.starts_at, reverse=True)

    async def create_silence(
        self, matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime, created_by: str, comment: str
    ) -> str:
        """Silence alerts that all matchers fit, and return the silence's id."""
        check_silence(matchers, starts_at, ends_at)
        body = {
            "matchers": [
                {"name": one.name, "value": one.value, "isRegex": one.is_regex, "isEqual": one.is_equal}
                for one in matchers
            ],
            "startsAt": starts_at.astimezone(UTC).isoformat(),
            "endsAt": ends_at.astimezone(UTC).isoformat(),
            "createdBy": created_by,
            "comment": comment,
        }
        # Not sent twice: Alertmanager makes a second silence of a second request.
        ask = Ask("POST", "/api/v2/silences", orjson.dumps(body), _JSON, idempotent=False, argument="matchers")
        said = await self._ask(ask)
        return self._read(lambda: str(said["silenceID"]), "a silence's id")

    async def expire_silence(self, silence: str) -> None:
        """End a silence; raises NotFound. Ending one that has ended changes nothing."""
        path = f"/api/v2/silence/{urllib.parse.quote(silence, safe='')}"
        ask = Ask("GET", path, argument="silence")
        try:
            said = await self._ask(ask)
        except (CallerError, EngineError) as error:
            raise NotFound(f"{self.name} has no silence '{silence[:100]}'.", argument="silence") from error
        if self._read(lambda: said["status"]["state"], "a silence") != "expired":
            await self._ask(Ask("DELETE", path, argument="silence"))

    async def receivers(self) -> list[str]:
        """Return who may be told."""
        said = await self._ask(Ask("GET", "/api/v2/receivers", argument="alert_manager"))
        return self._read(lambda: [str(each["name"]) for each in listed(said)], "receivers")

    async def status(self) -> AlertManagerStatus:
        """Return what it says of itself."""
        said = await self._ask(Ask("GET", "/api/v2/status", argument="alert_manager"))
        return self._read(lambda: _status(said), "a status")

    async def _ask(self, ask: Ask) -> Any:
        status, said = await self._api.ask(ask)
        if status >= 400:
            words = said.get("message", said.get("error", said)) if isinstance(said, Mapping) else said
            raise self._api.refused(status, str(words), "", ask.argument)
        return said

    def _read(self, read: Callable[[], Read], what: str) -> Read:
        try:
            return read()
        except WRONG_SHAPE as error:
            raise self._api.garbled(what) from error


def check_silence(matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime) -> None:
    """Raise CallerError for a silence that would be none, or one of everything."""
    if not matchers:
        raise CallerError("A silence without matchers would silence everything.", argument="matchers")
    if all(matcher.is_regex and matcher.is_equal and matcher.value in (".*", ".+", "") for matcher in matchers):
        raise CallerError(
            "These matchers fit every alert.", "Name at least one label's value.", argument="matchers"
        )
    if starts_at.tzinfo is None or ends_at.tzinfo is None:
        raise CallerError("A time has no time zone.", "Write e.g. 2026-01-31T12:00:00Z.", argument="ends_at")
    if ends_at <= starts_at:
        raise CallerError("The silence ends before it begins.", argument="ends_at")


def _alert(said: Mapping[str, Any]) -> ReceivedAlert:
    status = said["status"]
    return ReceivedAlert(
        str(said["fingerprint"]),
        dict(said["labels"]),
        dict(said.get("annotations") or {}),
        status["state"],
        instant_of(said["startsAt"]),
        instant_of(said["endsAt"]),
        tuple(str(each["name"]) for each in said.get("receivers") or ()),
        tuple(status.get("silencedBy") or ()),
        tuple(status.get("inhibitedBy") or ()),
        str(said.get("generatorURL") or ""),
    )


def _silence(said: Mapping[str, Any]) -> Silence:
    return Silence(
        str(said["id"]),
        tuple(
            Matcher(str(one["name"]), str(one["value"]), bool(one.get("isEqual", True)), bool(one["isRegex"]))
            for one in said["matchers"]
        ),
        instant_of(said["startsAt"]),
        instant_of(said["endsAt"]),
        str(said["createdBy"]),
        str(said["comment"]),
        said["status"]["state"],
    )


def _status(said: Mapping[str, Any]) -> AlertManagerStatus:
    cluster = said.get("cluster") or {}
    started = said.get("uptime")
    return AlertManagerStatus(
        str(said["versionInfo"]["version"]),
        str(cluster.get("status", "disabled")),
        len(cluster.get("peers") or ()),
        instant_of(started) if started else None,
    )
