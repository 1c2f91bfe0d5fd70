"""Delivers an outbox whose machine is dead, by the configuration of its camera.

The camera's new instance may run beside it: the file belongs to nobody, its keys are those of its
own boots and tenures, and what has an epoch is marked as drained, so that no receiver takes it for
the message of a double. Nothing is given up for its age or its number: whoever drains wants all.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from streamgate.config import (
    CameraSection,
    LoadedConfig,
    SqliteOutboxSection,
    load_config,
)
from streamgate.config.load import load_part
from streamgate.config.section import secrets_of
from streamgate.daemon.delivery import build_sink
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.faults import StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.outbox import SqliteOutbox
from streamgate.delivery.durable.store import Row, Store
from streamgate.delivery.lease.permit import DrainPermit
from streamgate.errors import ConfigError, OutboxError
from streamgate.pipeline import SystemClock
from streamgate.telemetry.logs import configure_logs
from streamgate.telemetry.metrics import Metrics

__all__ = ["config_for", "drain_file"]

_FOR_EVER_S = 1e10
_NO_LIMIT = 1 << 60
_LOOK_S = 0.2
_TELL_S = 2.0
_STOP_S = 10.0


def config_for(camera: str, places: Sequence[Path]) -> LoadedConfig:
    """Load the configuration of a camera, which is one of some files, or in one of some folders.

    Raises:
        ConfigError: none is, or two are, or it is at fault.
    """
    given = TypeAdapter(CameraSection)
    found = [file for file in _files(places) if load_part(file, ("camera",), given).name == camera]
    if len(found) != 1:
        places_shown = ", ".join(str(place) for place in places)
        many = "no file describes" if not found else f"{len(found)} files describe"
        raise ConfigError(
            f"{places_shown}: {many} the camera {camera}; give --config one that does"
        )
    return load_config(found[0])


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted([*place.glob("*.yaml"), *place.glob("*.yml")])
        else:
            yield place


def drain_file(
    path: Path, loaded: LoadedConfig, *, patience_s: float, tell: Callable[[str], None]
) -> int:
    """Deliver what an outbox file holds; return how many best shots are left in it.

    Args:
        loaded: the configuration of its camera: the keys and the sinks.
        patience_s: it ends after so long without a delivery.
        tell: called with the progress, in words.

    Raises:
        ConfigError, OutboxError: the file cannot be opened with this configuration, or a process
            serves it.
    """
    config = loaded.config
    section = config.delivery.outbox
    if not isinstance(section, SqliteOutboxSection):
        raise ConfigError(
            f"{loaded.path}: delivery.outbox is {section.kind}; draining needs the sqlite outbox's "
            "keys"
        )
    if not config.delivery.sinks:
        raise ConfigError(f"{loaded.path}: delivery.sinks is empty; there is nowhere to deliver to")
    configure_logs(config.log, secrets=secrets_of(config), camera=config.camera.name, boot="drain")
    before = len(_rows(path))
    tell(f"{path}: {before} best shots of {config.camera.name}")
    asyncio.run(_drain(path, section, loaded, patience_s=patience_s, tell=tell))
    left = _rows(path)
    dead = sum(bool(row.states) and all(at.dead for at in row.states.values()) for row in left)
    names = {sink.name for sink in config.delivery.sinks}
    strange = sorted({name for row in left for name in row.states} - names)
    tell(f"{path}: {before - len(left)} delivered, {len(left)} left, {dead} of them dead letters")
    if strange:
        tell(f"{path}: some wait for sinks that {loaded.path} does not name: {', '.join(strange)}")
    return len(left)


def _rows(path: Path) -> list[Row]:
    try:
        store = Store(path, Cipher(()))
        try:
            return store.rows()
        finally:
            store.close()
    except (StoreFaultError, StoreCorruptError) as error:
        raise OutboxError(f"outbox {error}") from None


async def _drain(
    path: Path,
    section: SqliteOutboxSection,
    loaded: LoadedConfig,
    *,
    patience_s: float,
    tell: Callable[[str], None],
) -> None:
    config, clock = loaded.config, SystemClock()
    metrics = Metrics(config.camera.name)
    names = [sink.name for sink in config.delivery.sinks]
    opened = section.model_copy(
        update={
            "path": path,
            "ttl_s": _FOR_EVER_S,
            "max_shots": _NO_LIMIT,
            "max_bytes": _NO_LIMIT,
        }
    )
    outbox = SqliteOutbox(opened, names, camera=config.camera.name, metrics=metrics, clock=clock)
    dispatcher = Dispatcher(
        config.delivery,
        outbox=outbox,
        sinks=[build_sink(sink, config.camera.name) for sink in config.delivery.sinks],
        metrics=metrics,
        clock=clock,
        permit=DrainPermit(),
    )
    try:
        await dispatcher.open()
    except OutboxError as error:
        await outbox.close()
        if "another process serves it" in str(error):
            raise OutboxError(
                f"{path}: another process serves it, and delivers what it holds; drain it once "
                "that process has ended"
            ) from None
        raise
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await _until_empty(outbox, names, stop, patience_s=patience_s, tell=tell)
        await dispatcher.drain(_STOP_S)


async def _until_empty(
    outbox: SqliteOutbox,
    names: Sequence[str],
    stop: asyncio.Event,
    *,
    patience_s: float,
    tell: Callable[[str], None],
) -> None:
    """Wait until nothing waits for these sinks, or nothing moves any more."""

    def waiting() -> int:
        return sum(outbox.waiting(name) for name in names)

    loop = asyncio.get_running_loop()
    total = left = waiting()
    moved_at = told_at = loop.time()
    while left and not stop.is_set():
        try:
            async with asyncio.timeout(_LOOK_S):
                await stop.wait()
        except TimeoutError:
            pass
        now, before = loop.time(), left
        left = waiting()
        if left != before:
            moved_at = now
        if now - told_at >= _TELL_S:
            told_at = now
            tell(f"  {total - left} of {total} deliveries done")
        if now - moved_at > patience_s:
            tell(f"  nothing was delivered for {patience_s:g} s")
            return
