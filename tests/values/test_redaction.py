"""Secrets in every place where they may stand, as the log, the page and messages show them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.values.redaction import MASK, Redactor, redact, shown_address

# A secret that a person or a program makes: no ordinary word is in it.
READABLE = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40
).filter(lambda text: MASK not in text and len(set(text)) > 3)
CAREFUL = st.text("abcdefXYZ0123456789-._~%+", min_size=8, max_size=60).filter(
    lambda text: len(set(text)) > 3
)

PLACES = {
    "user": "rtsp://{}@cam.example:554/stream",
    "password": "cannot open rtsp://viewer:{}@192.0.2.1/stream: 401",
    "password and port": "('rtsps://viewer:{}@[2001:db8::1]:322/stream',)",
    "path": "https://hooks.example/services/{}/post answered 500",
    "last of a path": "rtsp://192.0.2.1:554/{}",
    "user= in a path": "rtsp://192.0.2.1:554/user=admin_password={}_channel=1_stream=0.sdp?real",
    "query": "redis://broker:6379/0?password={}&db=1",
    "bare query": "http://192.0.2.1?token={}",
    "fragment": "http://192.0.2.1/#access_token={}",
    "quoted": "URL('https://cam.example/whep?key={}') is wrong",
    "in another": "http://proxy.example/fetch?url=rtsp%3A%2F%2Fviewer%3A{}%40cam%2Fx",
    "encoded": "rtsp%3A%2F%2Fviewer%3A{}%40cam.example%2Fx",
    "twice encoded": "rtsp%253A%252F%252Fviewer%253A{}%2540cam.example%252Fx",
    "escaped": '{{"url": "rtsp:\\/\\/viewer:{}@cam.example\\/x"}}',
    "without a scheme": "viewer:{}@cam.example:554 refused",
    "scheme left out": "//viewer:{}@cam.example/x",
    "header": "Authorization: Bearer {}",
    "headers": "<CIMultiDict('Host': 'x', 'Authorization': 'Bearer {}')>",
    "key": "X-Api-Key: {}",
    "cookie": "set-cookie: session={}; HttpOnly",
    "key and value": "login failed for user=admin password={}, retrying",
    "in JSON": '{{"token": "{}", "user": "admin"}}',
}


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=60, deadline=None)
@given(secret=CAREFUL)
def test_a_secret_that_nobody_registered_is_known_by_its_place(place: str, secret: str) -> None:
    """Of an address no more than scheme, host and port is shown, and of credentials nothing."""
    shown = redact(PLACES[place].format(secret))
    assert secret not in shown
    assert redact(shown) == shown


@pytest.mark.parametrize("careless", ["pa/ss:1@word", "12345/x@y", "p?a#s@@s", "a b/c@d", "1/2@3"])
def test_a_careless_password_in_a_whole_address_is_not_shown(careless: str) -> None:
    """It may hold what ends a host, or a space."""
    shown = shown_address(f"rtsp://viewer:{careless}@cam.example:554/x")
    for part in (careless, *careless.replace("@", "/").split("/")):
        assert len(part) < 2 or part not in shown.replace("cam.example:554", "")


WAYS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "percent": lambda secret: quote(secret, safe=""),
    "percent, lower": lambda secret: quote(secret, safe="").replace("%2F", "%2f"),
    "percent, with slashes": quote,
    "percent, every character": lambda secret: "".join(f"%{ord(c):02x}" for c in secret),
    "percent, every other": lambda secret: "".join(
        f"%{ord(c):02X}" if at % 2 else c for at, c in enumerate(secret)
    ),
    "form": quote_plus,
    "percent twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "JSON": lambda secret: json.dumps({"x": secret}),
    "representation": repr,
    "bytes": lambda secret: repr(secret.encode()),
    "HTML": html.escape,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 of user and password": lambda secret: base64.b64encode(
        b"viewer:" + secret.encode()
    ).decode(),
    "base64 in an address": lambda secret: base64.urlsafe_b64encode(
        b"me:" + secret.encode() + b"\n"
    ).decode(),
    "hexadecimal": lambda secret: secret.encode().hex(),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(secret=READABLE, before=st.text("xyz ,;", max_size=9), after=st.text("uvw ,;", max_size=9))
def test_a_registered_secret_is_found_however_it_is_written(
    way: str, secret: str, before: str, after: str
) -> None:
    """Encoded, escaped, or together with the user's name."""
    written = WAYS[way](secret)
    shown = Redactor([secret])(f"{before} {written} {after}")
    assert written not in shown
    assert secret not in shown


@pytest.mark.parametrize("cut", ["", "...", "…", "\nTraceback"])
@settings(max_examples=150, deadline=None)
@given(secret=READABLE, data=st.data())
def test_a_secret_that_was_cut_is_found(cut: str, secret: str, data: st.DataObject) -> None:
    """Libraries cut long messages anywhere; four characters and more are struck out."""
    length = data.draw(st.integers(4, len(secret)))
    shown = Redactor([secret])(f"refused: {secret[:length]}{cut}")
    assert f"refused: {secret[:length]}" not in shown
    assert MASK in shown


def test_both_ends_of_a_secret_that_was_shortened_in_its_middle_go() -> None:
    """As `reprlib` shortens."""
    assert Redactor(["hunter2-hunter3-X"])("'vie hunte...r3-X'") == f"'vie {MASK}...{MASK}'"


def test_half_of_a_secret_in_the_middle_of_a_text_goes_and_an_ordinary_word_stays() -> None:
    """A sink's name with which its token begins is what one looks for in a log."""
    strike = Redactor(["recogniser-5f31c2aa90e7"])
    assert strike("recogniser answered: recogniser-5f31 is unknown") == (
        f"recogniser answered: {MASK} is unknown"
    )


def test_what_is_no_secret_stays() -> None:
    """Addresses without a path, files, times and prose are what one reads a log for."""
    for text in (
        "rtsp://192.0.2.1:554",
        "nats://broker.example:4222 cannot be reached",
        "http://127.0.0.1:9109/",
        "/var/lib/streamgate/outbox.sqlite: no space left",
        "2026-11-27T12:00:00Z [::1]:9109",
        "a bearer token is wanted",
        "mail me@example.org",
        "check source.username and source.password",
    ):
        assert redact(text) == text


def test_values_of_every_kind_are_struck_out() -> None:
    """Also keys, bytes, exceptions, and what would only be printed later."""

    class Odd:
        def __repr__(self) -> str:
            return "Odd(hunter2-hunter2)"

    shown = Redactor(["hunter2-hunter2"]).value(
        {
            "hunter2-hunter2": [b"hunter2-hunter2", ("hunter2-hunter2",)],
            "error": ValueError("hunter2-hunter2"),
            "odd": Odd(),
            "number": 3,
        }
    )
    assert "hunter2" not in repr(shown)
    assert shown["number"] == 3


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=200), secrets=st.lists(st.text(max_size=30), max_size=3))
def test_any_text_can_be_shown(text: str, secrets: list[str]) -> None:
    """Nothing raises, and whole secrets are gone."""
    shown = Redactor(secrets)(text)
    for secret in secrets:
        if len(secret) >= 3 and secret not in MASK:
            assert secret not in shown.replace(MASK, "\0")


def test_a_long_text_takes_no_long_time() -> None:
    """A message of a hundred thousand characters, of the kinds that patterns stumble over."""
    strike = Redactor(["hunter2-hunter2" * 30])
    for text in ("a" * 100_000, "://" * 30_000, "a:" * 50_000, "token=" * 15_000, "\n" * 100_000):
        strike(text)
