"""Answers that were checked, kept for the same question, and kept masked: a cache holds nothing sensitive."""

import hashlib
from typing import Any

import orjson

from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.llm.interface import ModelRequest

TAG = "llm.answers"
MAX_BYTES = 256 * 1024


def may_be_kept(request: ModelRequest) -> bool:
    """Whether the same question may get the same answer: a schema vouches for it, and no variety was asked for."""
    settled = request.temperature == 0 or request.seed is not None
    return settled and request.output_schema is not None and not request.tools


class AnswerCache:
    """Exact: a request that differs in anything, or comes from somebody else, is another one."""

    def __init__(self, cache: Cache, ttl_seconds: float) -> None:
        self._cache = cache
        self._ttl_seconds = ttl_seconds

    async def get(self, names: str, principal: str) -> str | None:
        """Return the text of an answer that was accepted before."""
        found = await self._cache.get(_key(names, principal))
        if found is None:
            return None
        kept: Any = orjson.loads(found)
        return str(kept["text"])

    async def keep(self, names: str, principal: str, text: str) -> None:
        """Keep an accepted answer."""
        value = orjson.dumps({"text": text})
        if self._ttl_seconds > 0 and len(value) <= MAX_BYTES:
            stamp = await self._cache.stamp(TAG)
            await self._cache.set(_key(names, principal), value, self._ttl_seconds, stamp)


def _key(names: str, principal: str) -> str:
    return f"llm:{hashlib.sha256(f'{principal}:{names}'.encode()).hexdigest()}"
