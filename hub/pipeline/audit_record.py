"""Says of a call what the audit log may keep."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from quantum_suite.core.masking import MASK, is_secret_name, mask_text
from quantum_suite.hub.call import Call
from quantum_suite.hub.pipeline.digest import arguments_digest
from quantum_suite.services.audit.interface import AuditRecord

MAX_CHARACTERS = 300
"""Longest string kept of what a client or server chose."""

# https://www.w3.org/TR/trace-context/#traceparent-header: version ff and all-zero ids are invalid.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_USER_INFO = re.compile(r"(?<=://)[^/?#\s@]*@")
_QUERY_VALUE = re.compile(r"(?<=[?&;])([^=&;#\s]+)=([^&;#\s]+)")


class CallRecorder:
    """Makes audit records of calls: secrets masked, strings bounded, arguments as a digest.

    What clients send again and again (names, their own name and version) is cleaned once and remembered.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or _utc_now
        self._clean = lru_cache(maxsize=1024)(_clean)

    def record(
        self, call: Call, outcome: str, *, reason: str | None = None, duration_ms: float | None = None
    ) -> AuditRecord:
        """Describe `call` as it stands."""
        principal, target, meta = call.principal, call.target, call.params.get("_meta")
        info = call.client_info
        if info is None and call.session is not None:
            info = call.session.client_info
        return AuditRecord(
            self._now(),
            call.id,
            None if principal is None else principal.id,
            call.credentials.transport,
            self._text(call.method) or "",
            self._text(_asked_for(call) if target is None else target.name),
            None if target is None else target.upstream,
            arguments_digest(call.params),
            outcome,
            reason,
            duration_ms,
            call.era,
            self._text(call.protocol_version) or "",
            self._text(info.get("name")) if info else None,
            self._text(info.get("version")) if info else None,
            _trace_id(meta.get("traceparent")) if isinstance(meta, dict) else None,
        )

    def _text(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return None
        if len(value) > MAX_CHARACTERS:
            # Cutting could leave half a secret that no pattern recognises.
            return f"({len(value)} characters, not kept)"
        return self._clean(value)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _clean(text: str) -> str:
    text = _USER_INFO.sub(f"{MASK}@", text)
    text = _QUERY_VALUE.sub(lambda m: f"{m[1]}={MASK}" if is_secret_name(m[1]) else m[0], text)
    return mask_text(text).encode(errors="backslashreplace").decode()  # lone surrogates cannot be written


def _asked_for(call: Call) -> Any:
    """What the client named, known or not."""
    family = call.method.partition("/")[0]
    return call.params.get({"resources": "uri", "tasks": "taskId"}.get(family, "name"))


def _trace_id(traceparent: Any) -> str | None:
    if not isinstance(traceparent, str) or len(traceparent) > MAX_CHARACTERS:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    return match[1] if match else None
