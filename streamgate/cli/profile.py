"""`streamgate profile`: which profile a running camera uses, and a call to use another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from streamgate.config import WebSection

__all__ = ["command"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIMEOUT_S = 10.0
_MOST_BYTES = 65_536


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = _DURATION.fullmatch(str(value).strip())
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no time; wanted such as 90s, 30m, 2h or 1d", param, ctx)
        return float(found[1]) * _UNITS_S[found[2]]


@click.command("profile")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name", required=False)
@click.option("--for", "for_s", type=_Duration(), help="For how long, such as 30m, 2h or 1d.")
@click.option("--cancel", is_flag=True, help="Leave the choice to the schedule again.")
def command(file: Path, name: str | None, for_s: float | None, cancel: bool) -> None:
    """Show which profile the running camera of FILE uses, or make it use the profile NAME.

    NAME is used, whatever the schedule says, until --cancel or for a time; `default` stands for the
    settings of the file itself. A restart of the camera ends it as well. The camera is asked at
    web.host and web.port with web.token.
    """
    from streamgate.config import load_config

    if cancel and name is not None:
        raise click.UsageError("give either NAME or --cancel")
    if for_s is not None and name is None:
        raise click.UsageError("--for needs the NAME of a profile")
    web = load_config(file).config.web
    if cancel:
        told = _ask(web, "DELETE")
    elif name is not None:
        told = _ask(web, "PUT", {"profile": name, "for_s": for_s})
    else:
        told = _ask(web, "GET")
    left_s = told["for_s"]
    end = f", for {left_s / 60:.0f} more minutes" if left_s is not None else ""
    click.echo(f"{told['profile']} (by {told['reason']}{end})")
    if name is None and not cancel:
        click.echo(f"profiles: {', '.join(told['profiles'])}")


def _ask(web: WebSection, method: str, call: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the camera at its own address.

    Raises:
        StreamgateError: it does not answer, or does not do it.
    """
    import http.client
    import json
    import ssl
    from contextlib import closing

    from streamgate.errors import StreamgateError

    if not web.enabled or web.port == 0:
        raise StreamgateError(
            "the camera cannot be asked: wanted web.enabled, and a fixed web.port"
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)  # noqa: S104 - compared
    headers = {"Content-Type": "application/json"}
    if web.token is not None:
        headers["Authorization"] = f"Bearer {web.token.get_secret_value()}"
    if web.cert_file is None:
        connection = http.client.HTTPConnection(host, web.port, timeout=_TIMEOUT_S)
    else:
        # The certificate that it serves is the one in the file, by whatever name it is asked.
        context = ssl.create_default_context(cafile=str(web.cert_file))
        context.check_hostname = False
        # A chain's last certificate need not be there.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        connection = http.client.HTTPSConnection(
            host, web.port, timeout=_TIMEOUT_S, context=context
        )
    try:
        with closing(connection):
            body = None if call is None else json.dumps(call)
            connection.request(method, "/profile", body=body, headers=headers)
            answer = connection.getresponse()
            told = json.loads(answer.read(_MOST_BYTES))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StreamgateError(
            f"no camera answers at {host}:{web.port} ({error or type(error).__name__}); is it "
            "running with this file?"
        ) from None
    if not isinstance(told, dict) or answer.status != http.client.OK:
        detail = told.get("detail") if isinstance(told, dict) else None
        raise StreamgateError(f"the camera refused: {detail or answer.status}")
    return told
