"""Structured logs on standard error, without secrets.

Every line carries the camera and the boot; what libraries say through `logging`, as warnings or by
an exception that nobody caught takes the same way. Secrets are struck out here, at the last step,
so that no message, whoever wrote it, can carry them.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any

import structlog

from streamgate.config import LogSection
from streamgate.telemetry.rate_limit import Rarely
from streamgate.values.redaction import Redactor

__all__ = ["configure_logs", "log_uncaught"]

_FOREIGN_A_MINUTE = 5
# What structlog hands from one of its own steps to the next.
_INTERNAL = frozenset({"_record", "_from_structlog"})


def configure_logs(settings: LogSection, *, secrets: Iterable[str] = (), **context: str) -> None:
    """Send the program's and the libraries' log to standard error.

    Args:
        settings: level and format.
        secrets: texts that must never appear.
        context: fields of every line, such as camera and boot.
    """
    redactor = Redactor(secrets)
    # Logs are searched by these fields, and none can contain a secret.
    ours = {*context, *_INTERNAL, "level", "logger", "timestamp"}

    def strike_out(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {
            key: value if key in ours else redactor.value(value) for key, value in event.items()
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
    handler.addFilter(_few_of_a_kind())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("streamgate").setLevel(level)


def _few_of_a_kind() -> Callable[[logging.LogRecord], bool]:
    """Return a filter that lets a library say the same thing a few times a minute only.

    What raises it may be a peer that does so a thousand times a second.
    """
    rarely = Rarely(_FOREIGN_A_MINUTE)

    def admit(record: logging.LogRecord) -> bool:
        if record.name.startswith("streamgate"):
            return True
        # The place in the code: messages differ by what they are about.
        left_out = rarely.admit((record.name, record.pathname, record.lineno))
        if left_out is None:
            return False
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more of this kind were left out)"
            record.args = ()
        return True

    return admit


def log_uncaught() -> None:
    """Send exceptions that nobody caught, and warnings, to the log instead of standard error.

    Python would print them there as they are, with whatever a library put into their message.
    """
    logging.captureWarnings(capture=True)
    log = logging.getLogger("streamgate.uncaught")

    def in_a_thread(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
            log.error("a thread has failed", exc_info=failure.exc_value)

    def in_a_destructor(failure: sys.UnraisableHookArgs) -> None:
        # The object is left out: its representation may be anything.
        log.error("an exception could not be raised", exc_info=failure.exc_value)

    def anywhere(
        _kind: type[BaseException], error: BaseException, _trace: TracebackType | None
    ) -> None:
        if not isinstance(error, KeyboardInterrupt):
            log.error("the program has failed", exc_info=error)

    threading.excepthook = in_a_thread
    sys.unraisablehook = in_a_destructor
    sys.excepthook = anywhere
