"""A lease in Redis: two keys of one slot, changed by scripts that the server runs as one step."""

from __future__ import annotations

from typing import Any, cast

from streamgate.config import RedisLeaseSection, RedisSinkSection
from streamgate.delivery.lease.tenure import ORIGIN_WALL
from streamgate.delivery.sinks.redis import RedisSink
from streamgate.delivery.sinks.secure import told
from streamgate.errors import DeliveryError, LeaseError

try:
    from redis.exceptions import RedisError
except ModuleNotFoundError as error:  # pragma: no cover - the sink's import has said so
    raise AssertionError from error

__all__ = ["RedisLease"]

# The first key expires with the tenure; the second remembers the last epoch for ever.
_ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 0 end
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local now = tonumber(redis.call('TIME')[1])
local epoch = string.format('%d', math.max(last + 1, now - tonumber(ARGV[3]), 1))
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. epoch, 'PX', ARGV[2])
return tonumber(epoch)
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisLease:
    """A `LeaseStore`; it connects as the redis sink does.

    Args:
        holder: who we are, without a space.
    """

    def __init__(self, section: RedisLeaseSection, camera: str, holder: str) -> None:
        self._ttl_ms = round(section.ttl_s * 1000)
        # In braces, so that a cluster keeps both on one server.
        name = f"{section.prefix}{{{camera}}}"
        self._keys = (f"{name}:holder", f"{name}:epoch")
        self._holder = holder
        self._place = section.url
        self._secrets = [section.password]
        self._link = RedisSink(
            RedisSinkSection(
                kind="redis",
                url=section.url,
                username=section.username,
                password=section.password,
                ca_file=section.ca_file,
                client_cert_file=section.client_cert_file,
                client_key_file=section.client_key_file,
                timeout_s=section.ttl_s,
            )
        )

    async def acquire(self) -> int | None:
        """Take the lease, if it is free or has run out."""
        epoch = await self._run(_ACQUIRE, self._keys, self._holder, self._ttl_ms, ORIGIN_WALL)
        return int(epoch) or None

    async def renew(self, epoch: int) -> bool:
        """Say that we are still there; False where the lease is no longer ours."""
        return bool(await self._run(_RENEW, self._keys[:1], self._value(epoch), self._ttl_ms))

    async def release(self, epoch: int) -> None:
        """Let another have it at once."""
        await self._run(_RELEASE, self._keys[:1], self._value(epoch))

    async def holder(self) -> str:
        """Who has it, as far as the server knows; empty where nobody has."""
        held = await self._run("return redis.call('GET', KEYS[1])", self._keys[:1])
        return held.decode(errors="replace").partition(" ")[0] if held else ""

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    def _value(self, epoch: int) -> str:
        return f"{self._holder} {epoch}"

    async def _run(self, script: str, keys: tuple[str, ...], *values: Any) -> Any:
        try:
            client = await self._link._connected()
            return await cast(Any, client.eval(script, len(keys), *keys, *values))
        except DeliveryError as error:
            raise LeaseError(str(error)) from None
        except (RedisError, OSError) as error:
            raise LeaseError(f"{self._place}: {told(error, self._secrets)}") from None
