"""The consumers that tell: one a channel, so that one that is away holds no other up."""

import hashlib
from collections.abc import Sequence

from quantum_suite.core.events import Event, EventFilter
from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.notifications.interface import Channel, Notification
from quantum_suite.services.notifications.mail import EmailSender
from quantum_suite.services.notifications.rules import NotificationRules, Rule, SlackChannel, WebhookChannel
from quantum_suite.services.notifications.slack import SlackSender
from quantum_suite.services.notifications.templates import fill
from quantum_suite.services.notifications.webhook import WebhookSender
from quantum_suite.services.outbound import OutboundClient

_SENT_SECONDS = 86400.0


class Notifier:
    """A consumer that tells one channel of the events its rules are about.

    What was told lately is kept in the cache; where that is lost, something may be told twice, never not at all.
    """

    def __init__(self, channel: Channel, rules: Sequence[Rule], cache: Cache) -> None:
        self.name = f"notifications.{channel.name}"
        self.where = EventFilter(types=frozenset(kind for rule in rules for kind in rule.events))
        self._channel = channel
        self._rules = tuple(rules)
        self._cache = cache

    async def handle(self, event: Event) -> None:
        """Tell of one event, under each rule that wants it."""
        for rule in self._rules:
            if rule.wants(event) and not await self._told(rule, event):
                await self._channel.send(
                    Notification(
                        f"{event.id}.{rule.name}",
                        rule.name,
                        fill(rule.title, event),
                        fill(rule.text, event),
                        event,
                    )
                )
                await self._note(rule, event)

    async def _told(self, rule: Rule, event: Event) -> bool:
        """Whether this event was told under this rule, or another one that is the same."""
        if await self._cache.get(self._key(rule, "event", event.id)) is not None:
            return True
        if rule.deduplicate is None:
            return False
        return await self._cache.get(self._key(rule, "same", fill(rule.deduplicate.key, event))) is not None

    async def _note(self, rule: Rule, event: Event) -> None:
        await self._cache.set(self._key(rule, "event", event.id), b"1", _SENT_SECONDS, await self._cache.stamp())
        if rule.deduplicate is not None:
            key = self._key(rule, "same", fill(rule.deduplicate.key, event))
            await self._cache.set(key, b"1", rule.deduplicate.seconds, await self._cache.stamp())

    def _key(self, rule: Rule, kind: str, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.name}/{rule.name}/{kind}/{digest}"


def notifiers(rules: NotificationRules, outbound: OutboundClient, cache: Cache) -> list[Notifier]:
    """Return a consumer for each channel that a rule names; raises ConfigurationError for a missing secret."""
    made = []
    for name, settings in rules.channels.items():
        about = [rule for rule in rules.rules if name in rule.channels]
        if not about:
            continue
        channel: Channel
        if isinstance(settings, WebhookChannel):
            channel = WebhookSender(name, settings, outbound)
        elif isinstance(settings, SlackChannel):
            channel = SlackSender(name, settings, outbound)
        else:
            channel = EmailSender(name, settings)
        made.append(Notifier(channel, about, cache))
    return made
