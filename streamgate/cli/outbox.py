"""`streamgate outbox`: inspect and change a camera's outbox, also while the camera runs.

Each command is one short transaction; the camera notices within a second what was changed. Only
`show` and `export` need the keys that encrypt what waits.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamgate.errors import ConfigError, DeliveryError, OutboxError

if TYPE_CHECKING:
    from streamgate.config import MemoryOutboxSection, SqliteOutboxSection
    from streamgate.delivery.durable.store import Row, Store
    from streamgate.delivery.entry import DeliveryState

__all__ = ["command"]

_CONFIG = click.argument("file", metavar="CONFIG", type=click.Path(path_type=Path))
_KEYS = click.argument("keys", metavar="[KEY]...", nargs=-1)
_SINK = click.option(
    "--sink", help="Only best shots that wait, or are dead letters, for this sink."
)
_DEAD = click.option(
    "--dead",
    is_flag=True,
    help="Only dead letters: best shots that no remaining sink will be offered again.",
)


@click.group("outbox")
def command() -> None:
    """Inspect and change what waits in the outbox on disk, whether its camera runs or not.

    CONFIG is the camera's configuration file; it says where the outbox is, and its keys.
    """


@command.command("list")
@_CONFIG
@_SINK
@_DEAD
@click.option(
    "--format", "layout", type=click.Choice(["table", "csv", "json"]), default="table",
    show_default=True,
)  # fmt: skip
def _list(file: Path, sink: str | None, dead: bool, layout: str) -> None:
    """Print every best shot that waits: its key, age, quality, size, and its state at each sink."""
    with _opened(file) as store:
        rows = _chosen(store.rows(), (), sink=sink, dead=dead)
    click.echo(_LAYOUTS[layout](rows), nl=False)
    if layout == "table":
        letters = sum(_is_dead(row) for row in rows)
        click.echo(f"{len(rows)} best shots, {letters} of them dead letters")


@command.command("show")
@_CONFIG
@click.argument("key")
@click.option("--embedding", is_flag=True, help="Print the embedding too.")
def _show(file: Path, key: str, embedding: bool) -> None:
    """Print the metadata of the best shot KEY as JSON, and its state at each sink."""
    from streamgate.delivery.durable.cipher import DamagedError

    with _opened(file, with_keys=True) as store:
        [row] = _named(store.rows(), [key])
        try:
            shot = store.read(row.number)
        except DamagedError as error:
            raise OutboxError(f"{key} cannot be read: {error}") from None
    if shot is None:
        raise OutboxError(f"{key} has just been delivered or dropped")
    metadata = json.loads(shot.metadata)
    if not embedding:
        metadata["embedding"].pop("base64", None)
    shown = {**_as_dict(row), "metadata": metadata}
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@command.command("retry")
@_CONFIG
@_KEYS
@_SINK
@click.option("--all", "every", is_flag=True, help="Every dead letter.")
def _retry(file: Path, keys: tuple[str, ...], sink: str | None, every: bool) -> None:
    """Offer dead letters to their sinks again: those of KEY..., or all of them."""
    if bool(keys) == every:
        raise click.UsageError("give either keys or --all")
    with _opened(file) as store:
        rows = _chosen(store.rows(), keys, sink=sink)
        revived = store.retry([row.number for row in rows], sink)
    click.echo(f"{revived} deliveries will be tried again")


@command.command("purge")
@_CONFIG
@_KEYS
@_SINK
@_DEAD
@click.option("--all", "every", is_flag=True, help="Everything.")
@click.option(
    "--track", "tracks", metavar="CAMERA/TRACK", multiple=True,
    help="Every best shot of a track, as the decision log names it; CAMERA/BOOT/TRACK tells runs "
    "of the camera apart. May be given several times.",
)  # fmt: skip
@click.option(
    "--directory", "folders", multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --track or keys: delete them in this folder of a directory sink as well.",
)  # fmt: skip
@click.option("--key-id", help="Only best shots that were encrypted with the key of this id.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def _purge(
    *,
    file: Path,
    keys: tuple[str, ...],
    sink: str | None,
    dead: bool,
    every: bool,
    tracks: tuple[str, ...],
    folders: tuple[Path, ...],
    key_id: str | None,
    yes: bool,
) -> None:
    """Delete best shots without delivering them: those of KEY..., or those that the options select.

    With --sink, a best shot that also waits for other sinks is deleted for those too. What a sink
    has received, or is receiving at this moment, is not reached, except by --directory.
    """
    if not (keys or every or dead or sink or key_id or tracks):
        raise click.UsageError(
            "say what to delete: keys, --track, --dead, --sink, --key-id or --all"
        )
    if folders and not (keys or tracks):
        raise click.UsageError("--directory needs --track or keys")
    from streamgate.cli.erasure import as_track, erase_in, of_track

    wanted = [as_track(track) for track in tracks]
    with _opened(file) as store:
        found = store.rows()
        # What was delivered already does not wait, and its files are to be deleted all the same.
        named = [key for key in keys if not folders or key in {row.key for row in found}]
        rows = [
            row
            for row in _chosen(found, named, sink=sink, dead=dead, key_id=key_id)
            if (not wanted or of_track(row, wanted)) and (named or not keys)
        ]
        if (rows or folders) and not yes:
            places = f" and what {len(folders)} folders hold of them" if folders else ""
            click.confirm(f"Delete {len(rows)} best shots{places} for good?", abort=True, err=True)
        deleted, emptied = store.erase([row.number for row in rows])
    click.echo(f"{deleted} best shots deleted")
    if deleted and not emptied:
        click.echo(
            "another process reads the outbox, so that its WAL still holds them; try again soon",
            err=True,
        )
    for folder in folders:
        click.echo(f"{erase_in(folder, keys, wanted)} best shots deleted in {folder}")
    for copy in sorted(store.path.parent.glob(f"{store.path.name}.damaged-*")):
        click.echo(f"{copy} was put aside damaged and may still hold some; delete it", err=True)
    if deleted and not emptied:
        sys.exit(1)


@command.command("export")
@_CONFIG
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_KEYS
@_SINK
@_DEAD
def _export(file: Path, folder: Path, keys: tuple[str, ...], sink: str | None, dead: bool) -> None:
    """Write all best shots, or KEY..., decrypted into FOLDER, as a directory sink would.

    Nothing is deleted.
    Exit 1 if some of them cannot be read.
    """
    from streamgate.config import DirectorySinkSection
    from streamgate.delivery.durable.cipher import DamagedError
    from streamgate.delivery.sinks.directory import DirectorySink

    delivery = DirectorySink(DirectorySinkSection(kind="directory", path=folder))
    written = damaged = 0
    with _opened(file, with_keys=True) as store, asyncio.Runner() as runner:
        for row in _chosen(store.rows(), keys, sink=sink, dead=dead):
            try:
                shot = store.read(row.number)
            except DamagedError as error:
                click.echo(f"{row.key}: cannot be read: {error}", err=True)
                damaged += 1
                continue
            if shot is not None:
                runner.run(delivery.deliver(shot))
                written += 1
        runner.run(delivery.close())
    click.echo(f"{written} best shots written into {folder}")
    if damaged:
        sys.exit(1)


@command.command("drain")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--config",
    "configs",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A camera's configuration file, or a folder of them. May be given more than once.",
)
@click.option(
    "--patience", "patience_s", default=300.0, show_default=True,
    type=click.FloatRange(min=1), help="Give a file up after so many seconds without a delivery.",
)  # fmt: skip
def _drain(files: tuple[Path, ...], configs: tuple[Path, ...], patience_s: float) -> None:
    """Deliver what an outbox file of a dead machine still holds, beside the new instance.

    Each FILE is delivered by the configuration of its camera. A file that a process serves is
    refused. Ctrl-C stops; what was delivered is deleted, and the next call goes on with the rest.
    Exit 1 if something is left.
    """
    from streamgate.daemon.drain import config_for, drain_file
    from streamgate.delivery.durable.file import camera_of

    # All are looked at before the first is delivered.
    jobs = [(file, config_for(camera_of(file), configs)) for file in files]
    left = 0
    for file, loaded in jobs:
        left += drain_file(
            file, loaded, patience_s=patience_s, tell=lambda text: click.echo(text, err=True)
        )
    if left:
        sys.exit(1)


@contextmanager
def _opened(file: Path, *, with_keys: bool = False) -> Iterator[Store]:
    from streamgate.config import SqliteOutboxSection
    from streamgate.delivery.durable.cipher import Cipher
    from streamgate.delivery.durable.faults import StoreCorruptError, StoreFaultError
    from streamgate.delivery.durable.store import Store

    section = _section(file, with_keys=with_keys)
    if not isinstance(section, SqliteOutboxSection):
        raise ConfigError(
            f"{file}: delivery.outbox is {section.kind}; only an outbox of kind sqlite can be "
            "looked into from outside"
        )
    try:
        store = Store(section.path, Cipher(section.keys if with_keys else ()))
        try:
            yield store
        finally:
            store.close()
    except StoreFaultError as error:
        raise OutboxError(f"outbox {error}") from None
    except StoreCorruptError as error:
        raise OutboxError(
            f"outbox {error}; its camera puts a damaged file aside and saves what can be read"
        ) from None
    except DeliveryError as error:
        raise OutboxError(str(error)) from None


def _section(file: Path, *, with_keys: bool) -> MemoryOutboxSection | SqliteOutboxSection:
    """Only what a command uses is read: secrets of sinks and cameras may be somebody else's."""
    from typing import Annotated

    from pydantic import BeforeValidator, TypeAdapter

    from streamgate.config import OutboxSection
    from streamgate.config.load import load_part

    place = ("delivery", "outbox")
    given = TypeAdapter(Annotated[OutboxSection, BeforeValidator(_or_memory)])
    if with_keys:
        return load_part(file, place, given)
    # Without keys the section has to say that it means it.
    plain = TypeAdapter(Annotated[OutboxSection, BeforeValidator(_as_unencrypted)])
    left_out = ("keys", "store_pictures_unencrypted")
    return load_part(file, place, plain, without=left_out)


def _or_memory(data: Any) -> Any:
    return {"kind": "memory"} if data is None else data


def _as_unencrypted(data: Any) -> Any:
    if isinstance(data, dict) and data.get("kind") == "sqlite":
        return {**data, "store_pictures_unencrypted": True}
    return _or_memory(data)


def _chosen(
    rows: Sequence[Row],
    keys: Sequence[str],
    *,
    sink: str | None = None,
    dead: bool = False,
    key_id: str | None = None,
) -> list[Row]:
    return [
        row
        for row in (_named(rows, keys) if keys else rows)
        if (sink is None or sink in row.states)
        and (not dead or _is_dead(row))
        and (key_id is None or row.key_id == key_id)
    ]


def _named(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    found = {row.key: row for row in rows}
    unknown = [key for key in keys if key not in found]
    if unknown:
        raise OutboxError(f"nothing waits under the key {', '.join(unknown)}")
    return [found[key] for key in keys]


def _is_dead(row: Row) -> bool:
    return bool(row.states) and all(at.dead for at in row.states.values())


def _state(at: DeliveryState) -> str:
    if at.dead:
        return f"dead after {at.refusals} failures: {at.error}"
    if at.error:
        times = f"failed {at.refusals} times while others passed" if at.refusals else "failed"
        return f"{times}, next in {at.due:.0f} s: {at.error}"
    return "waits"


def _short_state(at: DeliveryState) -> str:
    if at.dead:
        return "dead"
    if at.refusals:
        return "refused"
    return "failed" if at.error else "waits"


def _as_dict(row: Row) -> dict[str, Any]:
    from streamgate.delivery.durable.cipher import CLEAR

    summary = row.summary
    return {
        "key": row.key,
        "decided_at": summary and datetime.fromtimestamp(summary.decided_wall, UTC).isoformat(),
        "age_s": round(row.age_s, 1),
        "quality": summary and round(summary.quality, 2),
        "bytes": summary and summary.size,
        "key_id": row.key_id if row.key_id != CLEAR else None,
        "damaged": summary is None,
        "sinks": {
            name: {
                "state": _short_state(at),
                "refusals": at.refusals,
                "error": at.error or None,
            }
            for name, at in sorted(row.states.items())
        },
    }


def _as_json(rows: Sequence[Row]) -> str:
    return json.dumps([_as_dict(row) for row in rows], indent=1, ensure_ascii=False) + "\n"


_COLUMNS = ("key", "age", "quality", "bytes", "key id", "sinks")


def _cells(row: Row) -> tuple[str, ...]:
    sinks = "; ".join(f"{name} {_state(at)}" for name, at in sorted(row.states.items()))
    if row.summary is None:
        return row.key, "", "", "", row.key_id, f"damaged; {sinks}"
    return (
        row.key, _age(row.age_s), f"{row.summary.quality:.1f}",
        str(row.summary.size), row.key_id or "(clear)", sinks,
    )  # fmt: skip


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _as_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    from rich.console import Console
    from rich.table import Table

    table = Table(*_COLUMNS)
    for row in rows:
        table.add_row(*_cells(row))
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 200).print(table, markup=False)
    return text.getvalue()


def _as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "decided_at", "quality", "bytes", "key_id", "damaged", "sink", "state"])
    for row in rows:
        shown = _as_dict(row)
        values = [shown[name] for name in ("key", "decided_at", "quality", "bytes", "key_id")]
        for name, at in shown["sinks"].items() or {"": {"state": ""}}.items():
            writer.writerow([*values, shown["damaged"], name, at["state"]])
    return text.getvalue()


_LAYOUTS = {"table": _as_table, "csv": _as_csv, "json": _as_json}
