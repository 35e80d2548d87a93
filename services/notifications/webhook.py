"""Programs elsewhere, told by signed HTTP requests (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import time

import orjson

from quantum_suite.core.errors import ConfigurationError, EngineError
from quantum_suite.services.notifications.interface import Notification
from quantum_suite.services.notifications.rules import Secret, WebhookChannel
from quantum_suite.services.outbound import OutboundClient, OutboundRequest, Reach

_PREFIX = "whsec_"


class WebhookSender:
    """Posts notifications, signed. The receiver knows a repetition by `webhook-id`."""

    def __init__(self, name: str, settings: WebhookChannel, outbound: OutboundClient) -> None:
        """Read the secrets; raises ConfigurationError where one is missing or malformed."""
        self.name = name
        self._url = settings.url.read() if isinstance(settings.url, Secret) else settings.url
        self._key = signing_key(settings.secret.read(), name)
        self._reach: Reach = "private" if settings.allow_private_addresses else "public"
        self._outbound = outbound

    async def send(self, notification: Notification) -> None:
        """Post it; any 2xx is an acceptance."""
        event = notification.event
        body = orjson.dumps(
            {
                "type": event.type,
                "timestamp": event.time.isoformat(),
                "data": {
                    "rule": notification.rule,
                    "title": notification.title,
                    "text": notification.text,
                    "event": event.as_cloud_event(),
                },
            }
        )
        timestamp = int(time.time())
        reply = await self._outbound.send(
            OutboundRequest(
                "POST",
                self._url,
                {
                    "content-type": "application/json",
                    "webhook-id": notification.id,
                    "webhook-timestamp": str(timestamp),
                    "webhook-signature": signature(self._key, notification.id, timestamp, body),
                },
                body,
                idempotent=True,
                reach=self._reach,
            )
        )
        if not 200 <= reply.status < 300:
            raise EngineError(
                f"The webhook {self.name} answered {reply.status}.",
                "Mend its address or its receiver, then replay the event.",
                engine=f"webhook {self.name}",
            )


def signing_key(secret: str, name: str) -> bytes:
    """Return the key's bytes: base64 after `whsec_`, else the text itself."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigurationError(
            f"The secret of the webhook {name} is no base64 after {_PREFIX}.", "Copy it anew."
        ) from error


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: v1, HMAC-SHA256 over id, time and body."""
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
