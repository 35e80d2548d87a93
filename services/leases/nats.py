"""Leases in a key-value bucket of NATS JetStream, by the broker's clock.

JetStream ends keys by one age for a whole bucket, and leases differ in length. So the bucket keeps records for
long, and whether one has ended is told by two times the broker itself writes down: that of the record, which every
renewal writes anew, and that of its answer to a question. Each write names the revision it replaces.

A record from the future was written before the broker's clock was set back. Whoever asks for the lease writes it
again as it is: a holder that lives renews it, one that does not is succeeded after the lease's length.
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from quantum_suite.services.bus.nats_connection import NatsConnection
from quantum_suite.services.leases.interface import Lease
from quantum_suite.services.leases.terms import check_terms, nanoseconds, next_token

BUCKET = "QUANTUM_LEASES"
_KEEP_SECONDS = 30 * 24 * 60 * 60
_TRIES = 5
_STREAM_NOT_FOUND, _NAME_IN_USE, _NO_MESSAGE = 10059, 10058, 10037
_WRONG_REVISION = frozenset({10071, 10164})
_ESCAPED = re.compile(rb"[^A-Za-z0-9_/-]")


@dataclass(frozen=True, slots=True)
class _Record:
    """What is written under a name. No holder: released."""

    revision: int = 0
    written_at: int = 0
    holder: str | None = None
    token: int = 0
    ttl_seconds: float = 0

    def is_held(self, now: int) -> bool:
        return self.holder is not None and now - self.written_at < nanoseconds(self.ttl_seconds)


class NatsLeaseStore:
    """Keeps leases in the bucket `QUANTUM_LEASES`, which is made when it is not there.

    A lost bucket loses the leases: holders learn it at the next renewal, and later tokens are higher all the same.
    """

    def __init__(self, connection: NatsConnection, *, bucket: str = BUCKET, replicas: int = 1) -> None:
        self._connection = connection
        self._bucket = bucket
        self._replicas = replicas

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        check_terms(name, holder, ttl_seconds)
        for _ in range(_TRIES):
            last, now = await self._read(name), await self._now()
            if last.is_held(now) and last.holder != holder:
                if last.written_at > now:
                    await self._write(name, last.holder, last.token, last.ttl_seconds, last.revision)
                return None
            token = next_token(last.token, now)
            if await self._write(name, holder, token, ttl_seconds, last.revision):
                return Lease(name, holder, token, ttl_seconds)
        return None

    async def renew(self, lease: Lease) -> bool:
        return await self._write_held(lease, lease.holder)

    async def release(self, lease: Lease) -> None:
        await self._write_held(lease, None)

    async def holders(self, prefix: str) -> dict[str, str]:
        info = await self._info({"subjects_filter": f"$KV.{self._bucket}.>"})
        now = _time(info["ts"])
        held: dict[str, str] = {}
        for subject in info["state"].get("subjects") or ():
            name = _name(subject.removeprefix(f"$KV.{self._bucket}."))
            if name.startswith(prefix):
                record = await self._read(name)
                if record.holder is not None and record.is_held(now):
                    held[name] = record.holder
        return held

    async def _write_held(self, lease: Lease, holder: str | None) -> bool:
        """Write the record anew if the lease is still held; returns whether it was."""
        for _ in range(_TRIES):
            record = await self._read(lease.name)
            if record.token != lease.token or not record.is_held(await self._now()):
                return False
            if await self._write(lease.name, holder, lease.token, lease.ttl_seconds, record.revision):
                return True
        raise self._connection.away(f"the record of {lease.name} changes all the time")

    async def _read(self, name: str) -> _Record:
        asked = orjson.dumps({"last_by_subj": self._subject(name)})
        answer = await self._connection.request(f"$JS.API.STREAM.MSG.GET.KV_{self._bucket}", asked)
        code = _error(answer)
        if code in (_NO_MESSAGE, _STREAM_NOT_FOUND):
            return _Record()
        if code is not None:
            raise self._connection.away(answer["error"].get("description", "no reason given"))
        message = answer["message"]
        return _Record(message["seq"], _time(message["time"]), **_decoded(message.get("data", "")))

    async def _write(self, name: str, holder: str | None, token: int, ttl_seconds: float, revision: int) -> bool:
        """Replace the record of that revision; False when there is another one by now."""
        answer = await self._connection.request(
            self._subject(name),
            orjson.dumps({"holder": holder, "token": token, "ttl_seconds": ttl_seconds}),
            {"Nats-Expected-Last-Subject-Sequence": str(revision)},
        )
        code = _error(answer)
        if code is None:
            return True
        if code in _WRONG_REVISION:
            return False
        raise self._connection.away(answer["error"].get("description", "no reason given"))

    async def _now(self) -> int:
        """Return the time by the clock that stamps the records."""
        return _time((await self._info({}))["ts"])

    async def _info(self, question: dict[str, str]) -> dict[str, Any]:
        subject, asked = f"$JS.API.STREAM.INFO.KV_{self._bucket}", orjson.dumps(question)
        answer = await self._connection.request(subject, asked)
        if _error(answer) == _STREAM_NOT_FOUND:
            await self._make_bucket()
            answer = await self._connection.request(subject, asked)
        if _error(answer) is not None:
            raise self._connection.away(answer["error"].get("description", "no reason given"))
        return answer

    async def _make_bucket(self) -> None:
        wanted = {
            "name": f"KV_{self._bucket}",
            "subjects": [f"$KV.{self._bucket}.>"],
            "max_msgs_per_subject": 1,
            "max_age": nanoseconds(_KEEP_SECONDS),
            "num_replicas": self._replicas,
            "storage": "file",
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
        }
        answer = await self._connection.request(f"$JS.API.STREAM.CREATE.KV_{self._bucket}", orjson.dumps(wanted))
        if _error(answer) not in (None, _NAME_IN_USE):
            raise self._connection.away(answer["error"].get("description", "no reason given"))

    def _subject(self, name: str) -> str:
        return f"$KV.{self._bucket}.{_key(name)}"


def _key(name: str) -> str:
    """Return a name in the letters a key may have; others as `=` and two hex digits a byte."""
    return _ESCAPED.sub(lambda found: f"={found[0][0]:02X}".encode(), name.encode()).decode()


def _name(key: str) -> str:
    return unquote_to_bytes(key.replace("=", "%")).decode(errors="replace")


def _decoded(data: str) -> dict[str, Any]:
    """Return a record's fields; what somebody else wrote there counts as a name nobody has held."""
    try:
        body = orjson.loads(b64decode(data))
        return {"holder": body["holder"], "token": int(body["token"]), "ttl_seconds": float(body["ttl_seconds"])}
    except (ValueError, KeyError, TypeError):
        return {}


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000


def _error(answer: dict[str, Any]) -> int | None:
    """Return JetStream's code of what went wrong; None when nothing did."""
    error = answer.get("error")
    return None if error is None else int(error.get("err_code", 0))
