"""Structured logs on standard error, without secrets.

Every line carries the camera and the boot; what libraries say through `logging` takes the same way.
Credentials in URLs and registered secrets are struck out here, at the last step, so that no
message, whoever wrote it, can carry them.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

from streamgate.config import LogSection

__all__ = ["configure_logs", "redact"]

_URL_CREDENTIALS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/@\"']*(?:@[^\s/@\"']*)*@", re.IGNORECASE
)
_SHORTEST_SECRET = 3


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Strike out credentials of URLs, and the given secrets, in a text."""
    text = _URL_CREDENTIALS.sub(r"\g<scheme>[redacted]@", text)
    for secret in secrets:
        # Striking out every "a" would make a log unreadable and tell the secret.
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[redacted]")
    return text


def configure_logs(settings: LogSection, *, secrets: Iterable[str] = (), **context: str) -> None:
    """Send the program's and the libraries' log to standard error.

    Args:
        settings: level and format.
        secrets: texts that must never appear.
        context: fields of every line, such as camera and boot.
    """
    # The longest first: of a secret that begins with another, nothing must be left.
    known = tuple(sorted(set(secrets), key=len, reverse=True))
    # By these a log is searched, and none can hold a secret.
    ours = {*context, "level", "logger", "timestamp"}

    def strike_out(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {
            key: value if key in ours else _struck(value, known) for key, value in event.items()
        }

    # Not structlog's context variables: a thread does not inherit them, and decoding and scoring
    # have threads of their own.
    def say_where(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, **context}

    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        say_where,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        strike_out,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("streamgate").setLevel(level)


def _struck(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {key: _struck(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_struck(item, secrets) for item in value]
    return value
