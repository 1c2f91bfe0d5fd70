"""`streamgate recognise`: name the people in the best shots that cameras deliver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import click

from streamgate.cli import options

if TYPE_CHECKING:
    from streamgate.config import LogSection

__all__ = ["THRESHOLD", "command"]

THRESHOLD = 0.4
_URLS = {"redis": "redis://127.0.0.1:6379/0", "nats": "nats://127.0.0.1:4222"}
_SCHEMES = {"redis": ("redis", "rediss"), "nats": ("nats", "tls")}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command("recognise", cls=options.renamed({"--group": "--consumer-group"}))
@click.option(
    "--gallery", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photographs of known people: NAME/*.jpg, or one NAME.jpg each.",
)  # fmt: skip
@click.option(
    "--from", "kind", required=True, type=click.Choice(["http", "redis", "nats"]),
    help="Where best shots come from: http listens for them; redis and nats read a stream.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(-1, 1), default=THRESHOLD, show_default=True,
    help="Least cosine similarity that counts as the same person.",
)  # fmt: skip
@options.weights
@click.option("--host", default="127.0.0.1", show_default=True, help="http: where to listen.")
@click.option("--port", default=8089, show_default=True, help="http: port; 0 takes a free one.")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="http: a file with the token that senders must know.",
)  # fmt: skip
@click.option(
    "--signature-file", "signature_files", multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="http: a file with the secret that requests must be signed with; several while it is "
    "being replaced.",
)  # fmt: skip
@click.option("--url", help="redis, nats: the server, without credentials.")
@click.option("--username", help="redis, nats: user name.")
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="redis, nats: a file with the password.",
)  # fmt: skip
@click.option(
    "--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="redis, nats: authority that signed the server's certificate.",
)  # fmt: skip
@click.option(
    "--stream", default="streamgate:best-shots", show_default=True, help="redis: the stream."
)
@click.option(
    "--subject", default="streamgate.best-shots", show_default=True, help="nats: the subject."
)
@click.option(
    "--consumer-group", default="recognise", show_default=True,
    help="redis, nats: name under which the server remembers what was read.",
)  # fmt: skip
@click.option(
    "--format", "layout", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def command(
    *,
    gallery: Path,
    kind: Literal["http", "redis", "nats"],
    threshold: float,
    weights: str,
    host: str,
    port: int,
    token_file: Path | None,
    signature_files: tuple[Path, ...],
    url: str | None,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    stream: str,
    subject: str,
    consumer_group: str,
    layout: str,
) -> None:
    """Name the people in incoming best shots, one line each, until Ctrl-C.

    A small consumer to copy from. It compares embeddings with those of the gallery, ignores
    repetitions by their key, and acknowledges what it has named.
    """
    place = _checked(kind, url, ca_file)
    token, password = _secret(token_file), _secret(password_file)
    signed_with = tuple(secret for path in signature_files if (secret := _secret(path)))
    if kind == "http" and not (token or signed_with) and host not in _LOOPBACK:
        raise click.UsageError(
            f"--host {host} can be reached from other machines: give --token-file or "
            "--signature-file"
        )
    from streamgate.recognise.service import Transport, serve_gallery
    from streamgate.recognise.transport import Access
    from streamgate.telemetry.logs import configure_logs

    configure_logs(
        _console_log(), secrets=[secret for secret in (token, password, *signed_with) if secret]
    )
    inlet = Transport(
        kind=kind,
        host=host,
        port=port,
        access=Access(place, username, password, ca_file),
        stream=stream,
        subject=subject,
        consumer_group=consumer_group,
        token=token,
        signed_with=signed_with,
    )
    serve_gallery(
        inlet,
        gallery,
        weights=weights,
        threshold=threshold,
        as_json=layout == "json",
        show=click.echo,
        tell=lambda text: click.echo(text, err=True),
    )


def _console_log() -> LogSection:
    from streamgate.config import LogSection

    return LogSection(format="console")


def _checked(kind: str, url: str | None, ca_file: Path | None) -> str:
    if kind == "http":
        return ""
    url = url or _URLS[kind]
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES[kind] or not parts.hostname:
        raise click.UsageError(f"--url: wanted {' or '.join(_SCHEMES[kind])}://host:port")
    if "@" in parts.netloc:
        raise click.UsageError("--url holds credentials; give --username and --password-file")
    if ca_file is not None and parts.scheme == "redis":
        raise click.UsageError("--ca-file is for encrypted connections: the URL must be rediss://")
    return url


def _secret(path: Path | None) -> str | None:
    if path is None:
        return None
    secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    if not secret:
        raise click.UsageError(f"{path} is empty")
    return secret
