"""A lease on each kind of server: the same claims, real servers where there are some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats as nats_client
import pytest
from pydantic import TypeAdapter
from redis.asyncio import Redis

from streamgate.config import LeaseSection
from streamgate.daemon.lease import build_lease_store
from streamgate.errors import LeaseError
from streamgate.ports import LeaseStore
from tests.servers import broker as servers
from tests.servers.kubernetes import LeaseServer

pytestmark = pytest.mark.live

TTL_S = 2.0
SECTION: TypeAdapter[LeaseSection] = TypeAdapter(LeaseSection)


@dataclass
class Place:
    """A server, how it loses its memory, and how it goes away."""

    section: LeaseSection
    forget: Callable[[], Awaitable[None]]
    down: Callable[[], Awaitable[None]]


@asynccontextmanager
async def redis_place(folder: Path) -> AsyncIterator[Place]:
    with servers.redis(folder) as broker:
        url = f"redis://127.0.0.1:{broker.port}/0"

        async def forget() -> None:
            async with Redis.from_url(url) as client:
                await client.flushall()

        async def down() -> None:
            broker.stop()

        yield Place(
            SECTION.validate_python({"kind": "redis", "url": url, "ttl_s": TTL_S}), forget, down
        )


@asynccontextmanager
async def nats_place(folder: Path) -> AsyncIterator[Place]:
    with servers.nats(folder) as broker:
        url = f"nats://127.0.0.1:{broker.port}"

        async def forget() -> None:
            client = await nats_client.connect(url)
            await client.jetstream().delete_key_value("streamgate-leases")
            await client.close()

        async def down() -> None:
            broker.stop()

        yield Place(
            SECTION.validate_python({"kind": "nats", "url": url, "ttl_s": TTL_S}), forget, down
        )


@asynccontextmanager
async def kubernetes_place(folder: Path) -> AsyncIterator[Place]:
    (folder / "token").write_text("a-token-of-the-account\n")
    server = LeaseServer("a-token-of-the-account")
    await server.up()

    async def forget() -> None:
        server.leases.clear()

    section = {
        "kind": "kubernetes", "url": server.url, "namespace": "cameras", "ttl_s": TTL_S,
        "token_path": str(folder / "token"),
    }  # fmt: skip
    try:
        yield Place(SECTION.validate_python(section), forget, server.down)
    finally:
        await server.down()


PLACES = {"redis": redis_place, "nats": nats_place, "kubernetes": kubernetes_place}


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with PLACES[str(request.param)](tmp_path) as made:
        yield made


@asynccontextmanager
async def stores(place: Place, *names: str) -> AsyncIterator[list[LeaseStore]]:
    made = [build_lease_store(place.section, "door", name) for name in names]
    try:
        yield made
    finally:
        for store in made:
            await store.close()


async def test_one_holder_at_a_time(place: Place) -> None:
    """The second is refused, told who holds it, and let in once the first gives it back."""
    async with stores(place, "one", "two") as (one, two):
        first = await one.acquire()
        assert first is not None
        assert await two.acquire() is None
        assert await two.holder() == "one"
        assert await one.renew(first)
        assert await two.acquire() is None
        await one.release(first)
        second = await two.acquire()
        assert second is not None
        assert second > first
        assert not await one.renew(first)


async def test_a_lease_that_is_not_renewed_passes_on(place: Place) -> None:
    """After its time another takes it, with a larger epoch; the first cannot renew it any more."""
    async with stores(place, "one", "two") as (one, two):
        first = await one.acquire()
        assert first is not None
        second = None
        async with asyncio.timeout(5 * TTL_S):
            while second is None:
                await asyncio.sleep(0.2)
                second = await two.acquire()
        assert second > first
        assert not await one.renew(first)
        await one.release(first)
        assert await two.renew(second), "who has lost it gave back another's"


async def test_a_renewed_lease_stays(place: Place) -> None:
    """For longer than its time, renewed within it: nobody else gets it."""
    async with stores(place, "one", "two") as (one, two):
        first = await one.acquire()
        assert first is not None
        for _ in range(6):
            await asyncio.sleep(TTL_S / 4)
            assert await one.renew(first)
            assert await two.acquire() is None


async def test_epochs_grow_though_the_server_forgets(place: Place) -> None:
    """The server's data are deleted; the next epoch is larger all the same."""
    async with stores(place, "one", "two") as (one, two):
        first = await one.acquire()
        assert first is not None
        await place.forget()
        # Of the clock that epochs begin with.
        await asyncio.sleep(1.1)
        second = await two.acquire()
        assert second is not None
        assert second > first
        assert not await one.renew(first)


async def test_many_at_once_get_one_lease(place: Place) -> None:
    """Eight ask in the same moment: one gets it."""
    async with stores(place, *(f"s{number}" for number in range(8))) as made:
        answers = await asyncio.gather(*(store.acquire() for store in made))
    assert sum(answer is not None for answer in answers) == 1


async def test_a_server_that_is_away_is_told(place: Place) -> None:
    """Each question raises a LeaseError that names the place."""
    async with stores(place, "one") as (one,):
        epoch = await one.acquire()
        assert epoch is not None
        await place.down()
        with pytest.raises(LeaseError, match=r"127\.0\.0\.1"):
            await one.renew(epoch)
        with pytest.raises(LeaseError, match=r"127\.0\.0\.1"):
            await one.acquire()


async def test_a_refused_account_is_told_what_it_needs(tmp_path: Path) -> None:
    """Kubernetes answers 401: the message names the rights."""
    async with kubernetes_place(tmp_path) as place, stores(place, "one") as (one,):
        (tmp_path / "token").write_text("another")
        with pytest.raises(LeaseError, match="get, create and update"):
            await one.acquire()
