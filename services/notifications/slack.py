"""Chat rooms with an incoming webhook in Slack's format."""

import orjson

from quantum_suite.core.errors import EngineError
from quantum_suite.services.notifications.interface import Notification
from quantum_suite.services.notifications.rules import SlackChannel
from quantum_suite.services.outbound import OutboundClient, OutboundRequest, Reach

_MOST_CHARACTERS = 3000


class SlackSender:
    """Posts notifications into a room. One whose arrival is in doubt is posted again: better twice than never."""

    def __init__(self, name: str, settings: SlackChannel, outbound: OutboundClient) -> None:
        """Read the address; raises ConfigurationError where it is missing."""
        self.name = name
        self._url = settings.url.read()
        self._reach: Reach = "private" if settings.allow_private_addresses else "public"
        self._outbound = outbound

    async def send(self, notification: Notification) -> None:
        """Post it as text that mentions nobody and links nowhere."""
        text = f"*{_escaped(notification.title)}*\n{_escaped(notification.text)}".strip()
        body = orjson.dumps({"text": text[:_MOST_CHARACTERS], "unfurl_links": False})
        reply = await self._outbound.send(
            OutboundRequest(
                *("POST", self._url, {"content-type": "application/json"}, body),
                idempotent=True,
                reach=self._reach,
            )
        )
        if not 200 <= reply.status < 300:
            raise EngineError(
                f"The chat room {self.name} answered {reply.status}.",
                "Mend its address, then replay the event.",
                engine=f"slack {self.name}",
            )


def _escaped(text: str) -> str:
    """Return text in which Slack sees no mention, no link and no channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
