"""`streamgate init`: from a camera's address to a configuration that runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from streamgate.config import CameraConfig
    from streamgate.lab.setup.document import CameraAddress
    from streamgate.values import Image

__all__ = ["command"]


@click.command("init")
@click.option("--address", help="rtsp://…, /dev/video0 or a recording. Default: ask, or search.")
@click.option("--search", is_flag=True, help="Search the local network for ONVIF cameras.")
@click.option("--username", help="User name of the camera.")
@click.option("--password-file", type=click.Path(path_type=Path),
              help="File with the camera's password; the configuration refers to it.")  # fmt: skip
@click.option("--password-env", metavar="NAME",
              help="Environment variable with the password; it is referred to.")  # fmt: skip
@click.option("--name", help="Name of the camera.  [default: the name of the file]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("door.yaml"),
              show_default=True, help="The configuration to write.")  # fmt: skip
@click.option("--watch-s", type=click.FloatRange(0, 3600), default=60.0, show_default=True,
              help="How long to watch the camera, seconds.")  # fmt: skip
@click.option("--keep-picture", is_flag=True, help="Keep the picture that was taken.")
@click.option("--replace", is_flag=True, help="Replace a configuration that is there.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def command(*, address: str | None, search: bool, username: str | None, password_file: Path | None,
            password_env: str | None, name: str | None, out: Path, watch_s: float,
            keep_picture: bool, replace: bool, yes: bool) -> None:  # fmt: skip
    """Set a camera up: try its address, take a picture, watch it for a minute, and write a
    configuration with settings that fit what was seen.

    A password that is typed in is stored beside the configuration in a file of its own that only
    you can read. The picture is shown to nobody, and removed again unless you keep it.
    """
    from streamgate.errors import ConfigError

    out = out.resolve()
    if out.exists() and not replace:
        raise ConfigError(f"{out} is there already; wanted another --out, or --replace")
    if password_file is not None and password_env is not None:
        raise click.UsageError("give either --password-file or --password-env")
    if yes and address is None:
        raise click.UsageError("--yes asks nothing, so it needs --address")
    name = name or out.stem
    camera = _Asked(yes, username, password_file, password_env, out)
    where, source = camera.address(address, search)
    config = _config(name, source, camera)
    plan = _Plan(out, watch_s, keep_picture=keep_picture, replace=replace, asks=not yes)
    _set_up(plan, config, source, where, camera)


class _Asked:
    """What is known of the camera's login, and what is asked for when it is missing."""

    def __init__(self, yes: bool, username: str | None, password_file: Path | None,
                 password_env: str | None, out: Path) -> None:  # fmt: skip
        self.yes = yes
        self.username = username
        self._file = password_file
        self._environment = password_env
        self._out = out
        self.password: str | None = None
        self.fresh_file: Path | None = None

    def address(self, address: str | None, search: bool) -> tuple[CameraAddress, dict[str, object]]:
        from streamgate.lab.setup.document import source_of, split_address

        if address is None and (search or (not self.yes and click.confirm(
            "Search the local network for ONVIF cameras?", default=False
        ))):  # fmt: skip
            address = self._found()
        if address is None:
            address = click.prompt("Address of the camera (rtsp://…)")
        url, user, password = split_address(address)
        source = source_of(url)
        self.username = self.username or user
        self.password = self._password() if self.password is None else self.password
        if self.password is None:
            self.password = password
        if source["kind"] == "rtsp" and self.username is None and not self.yes:
            self.username = (
                click.prompt("User name (empty: none)", default="", show_default=False) or None
            )
        if self.username is not None and self.password is None and not self.yes:
            self.password = click.prompt("Password", hide_input=True, default="") or None
        return self._reference(url), source

    def _found(self) -> str | None:
        from streamgate.lab.setup.onvif import find_cameras, streams_of

        cameras = find_cameras()
        if not cameras:
            click.echo("No camera has answered.")
            return None
        for number, camera in enumerate(cameras, 1):
            click.echo(f"{number}. {camera.name} at {camera.host}")
        chosen = cameras[click.prompt("Which", type=click.IntRange(1, len(cameras))) - 1]
        # Only now is a password sent, and to this camera alone.
        self.username = self.username or click.prompt("User name")
        self.password = self._password() or click.prompt("Password", hide_input=True)
        streams = streams_of(chosen, self.username or "", self.password or "")
        for number, stream in enumerate(streams, 1):
            click.echo(f"{number}. {stream.name}, {stream.width}×{stream.height}")
        picked = click.prompt("Which stream", type=click.IntRange(1, len(streams)), default=1)
        return streams[picked - 1].url

    def _password(self) -> str | None:
        import os

        from streamgate.errors import ConfigError

        if self._environment is not None:
            if self._environment not in os.environ:
                raise ConfigError(f"the environment variable {self._environment} is not set")
            return os.environ[self._environment]
        if self._file is not None:
            try:
                return self._file.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8 text"
                raise ConfigError(f"cannot read {self._file}: {reason}") from None
        return None

    def _reference(self, url: str) -> CameraAddress:
        import json

        from streamgate.lab.setup.document import CameraAddress

        if self.password is None:
            return CameraAddress(url, self.username)
        if self._environment is not None:
            return CameraAddress(url, self.username, f"password: ${{{self._environment}}}")
        file = self._file
        if file is None:
            file = self.fresh_file = self._out.with_suffix(".password")
        # A $ in a path would stand for a variable.
        path = json.dumps(str(file.resolve()).replace("$", "$$"), ensure_ascii=False)
        return CameraAddress(url, self.username, f"password_file: {path}")


def _config(name: str, source: dict[str, object], camera: _Asked) -> CameraConfig:
    from pydantic import ValidationError

    from streamgate.config import CameraConfig
    from streamgate.config.faults import fault_from
    from streamgate.errors import ConfigError

    login: dict[str, Any] = {}
    if source["kind"] == "rtsp" and camera.username is not None:
        login = {"username": camera.username, "password": camera.password}
    try:
        return CameraConfig.model_validate(
            {"camera": {"name": name}, "source": {**source, **login}}
        )
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults = [
            fault_from(detail, line=0, key=".".join(str(part) for part in detail["loc"]))
            for detail in details
        ]
        raise ConfigError("\n".join(str(fault).removeprefix("0: ") for fault in faults)) from None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the configuration goes, and how it comes about."""

    out: Path
    watch_s: float
    keep_picture: bool
    replace: bool
    asks: bool


def _set_up(
    plan: _Plan,
    config: CameraConfig,
    source: dict[str, object],
    where: CameraAddress,
    camera: _Asked,
) -> None:
    from streamgate.lab.setup.document import Draft, document, write_private
    from streamgate.lab.setup.propose import propose
    from streamgate.lab.setup.watch import watch

    out, name = plan.out, config.camera.name
    picture = out.with_suffix(".jpg")

    def taken(image: Image) -> None:
        height, width = image.shape[:2]
        click.echo(f"A picture of {width}×{height} pixels has come.")
        if plan.keep_picture or plan.asks:
            _store(picture, image)
            click.echo(f"It is in {picture}; only you can read it.")
        if plan.watch_s:
            click.echo(f"Watching for {plan.watch_s:g} s; let some people walk by …")

    click.echo(f"Trying {_shown(where.url)} …")
    kept = False
    try:
        watched = watch(config, plan.watch_s, on_picture=taken)
        proposal = propose(watched)
        click.echo(
            f"{watched.frames_per_second:.1f} pictures a second; {proposal.people} people, "
            f"{len(proposal.ignore)} faces that never moved."
        )
        for reason, count in sorted(watched.rejections.items()):
            click.echo(f"  {count} faces were not fit: {reason}")
        kept = plan.keep_picture or (
            plan.asks and click.confirm("Keep the picture?", default=False)
        )
    finally:
        if not kept:
            with suppress(FileNotFoundError):
                picture.unlink()
    text = document(
        Draft(name, source, where, proposal, out.parent / f"{name}-best-shots", watched.seconds)
    )
    if camera.fresh_file is not None and camera.password is not None:
        write_private(camera.fresh_file, camera.password.encode(), replace=True)
    write_private(out, text.encode(), replace=plan.replace)
    click.echo(text)
    _check(out)


def _check(out: Path) -> None:
    from streamgate.config import load_config
    from streamgate.daemon.online import as_table, ask_all

    steps = ask_all(load_config(out))
    click.echo(as_table(steps), nl=False)
    if not all(step.ok for step in steps):
        sys.exit(1)
    click.echo(f"Written: {out}. Next: streamgate run {out}")


def _store(path: Path, image: Image) -> None:
    import io

    from PIL import Image as Pictures

    from streamgate.lab.setup.document import write_private

    data = io.BytesIO()
    Pictures.fromarray(image).save(data, "JPEG", quality=90)
    write_private(path, data.getvalue(), replace=True)


def _shown(url: str) -> str:
    from streamgate.values.redaction import shown_address

    return shown_address(url) if "://" in url else url
