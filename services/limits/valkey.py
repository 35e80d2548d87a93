"""Rate limits counted on a Valkey server, by its clock."""

from quantum_suite.services.databases.valkey import Script, ValkeyServer
from quantum_suite.services.limits.interface import Budget
from quantum_suite.services.limits.shared import SharedRateLimiter
from quantum_suite.services.outage import REST_SECONDS

# One step on the server, so that no two processes take the same token. A clock that was set back adds nothing, and
# does not make anybody wait for it to catch up. Numbers travel as text: Lua would cut them to integers.
_TAKE = Script("""
local per_second, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'filled_at')
local tokens = burst
if bucket[1] then
  tokens = math.min(burst, tonumber(bucket[1]) + math.max(0, now - tonumber(bucket[2])) * per_second)
end
local wait = 0
if tokens < cost then wait = (cost - tokens) / per_second else tokens = tokens - cost end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'filled_at', string.format('%.17g', now))
redis.call('PEXPIRE', KEYS[1], math.min(math.ceil((burst - tokens) / per_second * 1000) + 1000, 2592000000))
return string.format('%.17g', wait)
""")


class ValkeyRateLimiter(SharedRateLimiter):
    """Counts on `server`, under keys that begin with `{namespace}`. A bucket is dropped once it is full again."""

    def __init__(
        self, server: ValkeyServer, *, namespace: str = "quantum", rest_seconds: float = REST_SECONDS
    ) -> None:
        super().__init__(server.address, rest_seconds=rest_seconds)
        self._server = server
        self._prefix = f"{{{namespace}}}:limit:".encode()

    async def _take(self, name: bytes, budget: Budget, cost: float) -> float:
        return float(await self._server.run(_TAKE, [self._prefix + name], [budget.per_second, budget.burst, cost]))
