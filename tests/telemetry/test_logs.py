"""The log as whoever collects it reads it."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import structlog

from streamgate.config import LogSection
from streamgate.telemetry.logs import configure_logs, log_uncaught

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's log as it was."""
    root, ours = logging.getLogger(), logging.getLogger("streamgate")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def configure(level: str = "info") -> None:
    settings = LogSection.model_validate({"format": "json", "level": level})
    configure_logs(settings, secrets=[SECRET], camera="door", boot="b00t")


def test_every_line_says_camera_and_boot_whichever_thread_writes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Decoding and scoring have threads, and libraries loggers, of their own."""
    configure()
    log = structlog.get_logger("streamgate.test")
    log.info("from the loop", track=7)
    thread = Thread(target=lambda: log.info("from a thread", track=8))
    thread.start()
    thread.join()
    logging.getLogger("some.library").warning("from a library")
    found = lines(capsys)
    assert [(line["camera"], line["boot"]) for line in found] == [("door", "b00t")] * 3
    assert [line.get("track") for line in found] == [7, 8, None]
    assert [line["level"] for line in found] == ["info", "info", "warning"]


def test_secrets_are_struck_out_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    """In messages, fields, lists, exceptions, and in what libraries say."""
    configure()
    log = structlog.get_logger("streamgate.test")
    log.info(f"password {SECRET}", url=f"rtsp://viewer:{SECRET}@192.0.2.1/x", tried=[SECRET])
    try:
        raise ValueError(f"401 for rtsp://viewer:{SECRET}@192.0.2.1/x")  # noqa: TRY301
    except ValueError:
        log.exception("opening failed")
    logging.getLogger("some.library").warning("sent %s", SECRET)
    text = capsys.readouterr().err
    assert SECRET not in text
    assert text.count("[redacted]") >= 5


def test_nothing_is_left_of_a_secret_that_begins_with_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a rotated password may; the order in which they are known does not matter."""
    settings = LogSection.model_validate({"format": "json"})
    for secrets in (["hunter2", "hunter2-2026"], ["hunter2-2026", "hunter2"]):
        configure_logs(settings, secrets=secrets)
        structlog.get_logger("streamgate.test").info("401 for hunter2-2026")
    assert [line["event"] for line in lines(capsys)] == ["401 for [redacted]"] * 2


def test_what_a_log_is_searched_by_is_never_struck_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Though a secret is a part of the camera's name."""
    settings = LogSection.model_validate({"format": "json"})
    configure_logs(settings, secrets=["north", "info"], camera="north-door", boot="b00t")
    structlog.get_logger("streamgate.test").info("the north")
    (line,) = lines(capsys)
    assert (line["camera"], line["level"], line["event"]) == (
        "north-door", "info", "the [redacted]",
    )  # fmt: skip


def test_the_level_holds_for_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    """Libraries are heard from warnings up."""
    configure("warning")
    structlog.get_logger("streamgate.test").info("not now")
    logging.getLogger("some.library").info("nor this")
    structlog.get_logger("streamgate.test").error("but this")
    assert [line["event"] for line in lines(capsys)] == ["but this"]


def test_what_would_be_printed_later_is_struck_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Renderers print bytes, exceptions and objects themselves, after the strings."""
    configure()
    log = structlog.get_logger("streamgate.test")
    log.info("odd", raw=SECRET.encode(), error=ValueError(SECRET), place=Path(SECRET), n=3)
    logging.getLogger("some.library").warning("sent %r", SECRET.encode(), stack_info=True)
    text = capsys.readouterr().err
    assert SECRET not in text
    assert json.loads(text.splitlines()[0])["n"] == 3


@pytest.mark.parametrize("url", ["rtsp://192.0.2.1/user=admin_password=s3cret-1_channel=1",
                                 "https://hooks.example/x?token=s3cret-1"])  # fmt: skip
def test_an_address_is_logged_as_scheme_host_and_port(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """Whether a field holds it or a message."""
    configure()
    structlog.get_logger("streamgate.test").info(f"lost {url}", address=url)
    (line,) = lines(capsys)
    assert line["address"] == f"{url.rsplit('/', 1)[0]}/…"
    assert "s3cret" not in str(line)


def test_what_nobody_caught_is_logged_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread's exception would be printed as it is."""
    for module, name in ((threading, "excepthook"), (sys, "unraisablehook"), (sys, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    # A command that ran in this process may have left them captured, of an earlier handler.
    logging.captureWarnings(capture=False)
    configure()
    log_uncaught()
    try:
        error = ValueError(f"rtsp://viewer:{SECRET}@192.0.2.1/x")
        thread = Thread(target=lambda: (_ for _ in ()).throw(error))
        thread.start()
        thread.join()
        sys.excepthook(ValueError, error, None)
        warnings.showwarning(f"of {SECRET}", UserWarning, "file.py", 1)
    finally:
        logging.captureWarnings(capture=False)
    found = lines(capsys)
    assert [line["level"] for line in found] == ["error", "error", "warning"]
    assert SECRET not in str(found)
