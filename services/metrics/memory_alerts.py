"""The twin of an Alertmanager: alerts that are handed to it, and silences that are kept in memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.services.metrics.alertmanager import check_silence
from quantum_suite.services.metrics.interface import (
    AlertManagerStatus,
    Matcher,
    ReceivedAlert,
    Silence,
    SilenceState,
)

_MATCHER = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*(?P<sign>=~|!~|!=|=)\s*(?P<quote>\"?)(?P<value>.*)(?P=quote)")


@dataclass(slots=True)
class MemoryAlertManager:
    """Holds alerts, and says which of them are silenced now."""

    name: str
    held: Sequence[ReceivedAlert] = ()
    told: Sequence[str] = ("on-call",)
    _silences: dict[str, Silence] = field(default_factory=dict)

    async def alerts(self, matchers: Sequence[str] = ()) -> list[ReceivedAlert]:
        """Return the alerts that all matchers fit, silenced ones included."""
        wanted = [_read(matcher) for matcher in matchers]
        active = [silence for silence in await self.silences() if silence.state == "active"]
        found = [alert for alert in self.held if all(_fits(matcher, alert) for matcher in wanted)]
        return [_silenced(alert, active) for alert in found]

    async def silences(self) -> list[Silence]:
        """Return silences, those that begin last first."""
        now = datetime.now(UTC)
        found = [replace(one, state=_state(one, now)) for one in self._silences.values()]
        return sorted(found, key=lambda silence: silence.starts_at, reverse=True)

    async def create_silence(
        self, matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime, created_by: str, comment: str
    ) -> str:
        """Silence alerts that all matchers fit, and return the silence's id."""
        check_silence(matchers, starts_at, ends_at)
        name = new_id("silence")
        begins = max(starts_at, datetime.now(UTC))
        self._silences[name] = Silence(name, tuple(matchers), begins, ends_at, created_by, comment, "pending")
        return name

    async def expire_silence(self, silence: str) -> None:
        """End a silence; raises NotFound. Ending one that has ended changes nothing."""
        known = self._silences.get(silence)
        if known is None:
            raise NotFound(f"{self.name} has no silence '{silence[:100]}'.", argument="silence")
        self._silences[silence] = replace(known, ends_at=min(known.ends_at, datetime.now(UTC)))

    async def receivers(self) -> list[str]:
        """Return who may be told."""
        return list(self.told)

    async def status(self) -> AlertManagerStatus:
        """Return what it says of itself."""
        return AlertManagerStatus("memory", "disabled", 0, None)


def _read(text: str) -> Matcher:
    match = _MATCHER.fullmatch(text.strip())
    if match is None:
        raise CallerError(f"'{text[:60]}' is no matcher.", 'Write e.g. severity="page".', argument="matchers")
    return Matcher(match["name"], match["value"], match["sign"] in ("=", "=~"), match["sign"].endswith("~"))


def _fits(matcher: Matcher, alert: ReceivedAlert) -> bool:
    value = alert.labels.get(matcher.name, "")
    same = re.fullmatch(matcher.value, value) is not None if matcher.is_regex else value == matcher.value
    return same == matcher.is_equal


def _silenced(alert: ReceivedAlert, active: Sequence[Silence]) -> ReceivedAlert:
    by = tuple(one.id for one in active if all(_fits(matcher, alert) for matcher in one.matchers))
    return replace(alert, silenced_by=by, state="suppressed") if by else alert


def _state(silence: Silence, now: datetime) -> SilenceState:
    if silence.ends_at <= now:
        return "expired"
    return "active" if silence.starts_at <= now else "pending"
