"""The whole of delivery but the camera: an outbox on disk, its dispatcher, and any sinks."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamgate.config import DeliverySection, SqliteOutboxSection
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.durable.outbox import SqliteOutbox
from streamgate.ports import Sink
from streamgate.telemetry.metrics import Metrics
from tests.delivery.parts import SystemClock

KEY = base64.b64encode(bytes(range(32))).decode()
RETRY = {"initial_s": 0.05, "max_s": 0.2}
# The best shots of tests/delivery/shots.py were taken some months ago.
TTL_S = 7_000_000


class Post:
    """Delivery that runs, and its metrics."""

    def __init__(self, path: Path, sinks: Sequence[Sink], **outbox: Any) -> None:
        self.metrics = Metrics("door")
        settings = {
            "kind": "sqlite", "path": path, "keys": [{"id": "k1", "key": KEY}], "ttl_s": TTL_S,
            **outbox,
        }  # fmt: skip
        section = DeliverySection.model_validate(
            {
                "sinks": [
                    {"kind": "directory", "name": sink.name, "path": "unused"} for sink in sinks
                ],
                "retry": RETRY,
                "outbox": settings,
            }
        )
        assert isinstance(section.outbox, SqliteOutboxSection)
        clock = SystemClock()
        self.outbox = SqliteOutbox(
            section.outbox, [sink.name for sink in sinks],
            camera="door", metrics=self.metrics, clock=clock,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            section, outbox=self.outbox, sinks=sinks, metrics=self.metrics, clock=clock
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamgate_{name}", labels) or 0.0


@asynccontextmanager
async def running(path: Path, *sinks: Sink, **outbox: Any) -> AsyncIterator[Post]:
    """Delivery whose outbox is at `path`; it is drained for a second at the end."""
    post = Post(path, sinks, **outbox)
    await post.dispatcher.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(post.dispatcher.run())
        try:
            yield post
        finally:
            await post.dispatcher.drain(1.0)
            # Where the test has failed, the group would cancel it while it closes the file.
            await asyncio.wait({running})
