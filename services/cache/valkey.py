"""The cache on a Valkey server.

A tag's state is a random value under a key of its own. A value is kept with the states its tags had; it counts as
long as they still have them, so invalidating is one write, and a tag that the server evicted only costs a miss.
The run of the server is part of it all: one that was started again may have read an older state from its disk.
"""

import secrets
from collections.abc import Collection
from typing import Any

from quantum_suite.services.cache.shared import MAX_TTL_SECONDS, SharedCache
from quantum_suite.services.databases.valkey import Script, ValkeyServer
from quantum_suite.services.outage import REST_SECONDS

_RUN = "local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')\n"

_GET = Script(
    _RUN
    + """
local fields = redis.call('HGETALL', KEYS[1])
local value, was = false, nil
for i = 1, #fields, 2 do
  local field, content = fields[i], fields[i + 1]
  if field == 'value' then
    value = content
  elseif field == 'run' then
    was = content
  elseif redis.call('GET', ARGV[1] .. field) ~= content then
    was = nil
    break
  end
end
if was == run then return value end
if #fields > 0 then redis.call('UNLINK', KEYS[1]) end
return false
"""
)

_STAMP = Script(
    _RUN
    + """
local states = {}
for i, key in ipairs(KEYS) do
  local state = redis.call('GET', key)
  if state then
    redis.call('PEXPIRE', key, ARGV[2])
  else
    state = ARGV[1]
    redis.call('SET', key, state, 'PX', ARGV[2])
  end
  states[i] = state
end
table.insert(states, run)
return states
"""
)

_HOLDS = Script(
    _RUN
    + """
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= ARGV[i] then return 0 end
end
return ARGV[#KEYS + 1] == run and 1 or 0
"""
)

_SET = Script(
    _RUN
    + """
if ARGV[4] ~= run then return 0 end
local fields = {'value', ARGV[3], 'run', run}
for i = 5, #ARGV, 2 do
  if redis.call('GET', ARGV[1] .. ARGV[i]) ~= ARGV[i + 1] then return 0 end
  table.insert(fields, ARGV[i])
  table.insert(fields, ARGV[i + 1])
end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
)

_DELETE = Script("return redis.call('UNLINK', KEYS[1])")

_INVALIDATE = Script("""
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
""")

_TAG_MS = int(2 * MAX_TTL_SECONDS * 1000)
_TAGS_AT_ONCE = 1000


class ValkeyCache(SharedCache):
    """Keeps values on `server` under keys that begin with `{namespace}`, on one node of a cluster.

    The server bounds what is kept: give it `maxmemory` and an eviction policy. A value larger than
    `max_value_bytes` is not sent.
    """

    def __init__(
        self,
        server: ValkeyServer,
        *,
        namespace: str = "quantum",
        max_value_bytes: int = 4 * 1024 * 1024,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        super().__init__(server.address, max_value_bytes=max_value_bytes, rest_seconds=rest_seconds)
        self._server = server
        self._value_prefix = f"{{{namespace}}}:cache:".encode()
        self._tag_prefix = f"{{{namespace}}}:tag:".encode()

    async def _get(self, name: bytes) -> bytes | None:
        value = await self._server.run(_GET, [self._value_prefix + name], [self._tag_prefix])
        return None if value is None else bytes(value)

    async def _stamp(self, tags: Collection[bytes]) -> tuple[Any, ...]:
        keys = [self._tag_prefix + tag for tag in tags]
        return tuple(await self._server.run(_STAMP, keys, [secrets.token_bytes(16), _TAG_MS]))

    async def _holds(self, tags: Collection[bytes], state: tuple[Any, ...]) -> bool:
        keys = [self._tag_prefix + tag for tag in tags]
        return bool(await self._server.run(_HOLDS, keys, state))

    async def _set(
        self, name: bytes, value: bytes, ttl_seconds: float, tags: Collection[bytes], state: tuple[Any, ...]
    ) -> None:
        *states, run = state
        standing = [part for pair in zip(tags, states, strict=True) for part in pair]
        arguments = [self._tag_prefix, max(1, int(ttl_seconds * 1000)), value, run, *standing]
        await self._server.run(_SET, [self._value_prefix + name], arguments)

    async def _delete(self, name: bytes) -> None:
        await self._server.run(_DELETE, [self._value_prefix + name], [])

    async def _invalidate(self, tags: Collection[bytes]) -> None:
        keys = [self._tag_prefix + tag for tag in tags]
        for start in range(0, len(keys), _TAGS_AT_ONCE):
            at_once = keys[start : start + _TAGS_AT_ONCE]
            await self._server.run(_INVALIDATE, at_once, [secrets.token_bytes(16), _TAG_MS])
