"""What must not be shown is struck out here, for the log, the page, messages and stored errors.

Two kinds of secrets are known. *Registered* ones are in the configuration: they are found wherever
they stand, also percent-encoded, in base64, escaped, and where a library has cut its message in the
middle of one. *Unregistered* ones are known by their place alone: of an address only scheme, host
and port are shown, because cameras and brokers take passwords in paths and queries as well as
before the host; the values of headers and keys that carry credentials are never shown.

Where an address can be read in two ways, the one that shows less is taken.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, quote_plus, unquote

__all__ = ["MASK", "Redactor", "redact", "secrets_in", "shown_address"]

MASK = "[redacted]"

# Redacting every "a" would make a log unreadable and reveal the secret.
_SHORTEST_SECRET = 3
# A part of a secret that may be an ordinary word is struck out only where the text was cut.
_SHORTEST_PART = 8
_SHORTEST_CUT_PART = 4
_SHORTEST_BASE64 = 6
# A database, a channel or a stream's name in an address is no secret.
_SHORTEST_IN_URL = 6
_SHORTEST_SEGMENT = 16

_URL = re.compile(
    r"(?<![a-z0-9+.-])(?P<scheme>[a-z][a-z0-9+.-]{0,31})"
    r"(?P<separator>(?::|%(?:25)*3a)(?:\\*/|%(?:25)*2f){2})(?P<rest>\S*)",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"[^/?#\\]*")
_HOST = re.compile(r"(?P<name>[\w.-]{1,253}|\[[0-9a-f:.%\w-]{2,64}\])(?::\d{0,5})?", re.IGNORECASE)
_CLOSING = "'\"`)]}>,.;:!…"
_USER_AND_PASSWORD = re.compile(r"[^\s/@:'\"(=]{1,128}:[^\s/@]{1,1024}@(?=[\w\[])")
_HEADER = re.compile(
    r"(?P<name>\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:key|token|auth)[a-z-]*)"
    r"\b[\"']?\s*[:=]\s*)(?P<value>[^\r\n]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(
    r"(?P<name>\b(?:bearer|basic)\s+)(?=[\w+/=.~-]*[\d+/=_])[\w+/=.~-]{8,}", re.IGNORECASE
)
_PAIR = re.compile(
    r"(?P<name>(?:passw(?:or)?d|passphrase|(?<![a-z])(?:pass|pwd|psw|auth|sig|jwt)|secret|token|"
    r"api_?-?key|access_?-?key|private_?-?key|credentials?|signature)"
    r"(?:\s*=\s*|[\"']\s*:\s*))(?P<value>\"[^\"]*\"?|'[^']*'?|[^\s&,;]+)",
    re.IGNORECASE,
)
_CUTS = re.compile(r"\.{3,16}|…|\r?\n|\Z")
_ESCAPES = re.compile(r"(?:%[0-9a-f]{2})+", re.IGNORECASE)
_MOST_ENCODINGS = 3
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_=-]*")


class Redactor:
    """Strikes out registered secrets, and what the place of a text gives away as secret.

    Args:
        secrets: texts that must never be shown.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        self._plain = tuple(known)
        self._forms = tuple({form for secret in known for form in _forms(secret)})
        self._encoded = tuple({form for secret in known for form in _base64_forms(secret)})

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        text = _without(text, self._spans(text))
        text = _URL.sub(_shown_url, text)
        text = _USER_AND_PASSWORD.sub(f"{MASK}@", text)
        text = _HEADER.sub(rf"\g<name>{MASK}", text)
        text = _BEARER.sub(rf"\g<name>{MASK}", text)
        return _PAIR.sub(rf"\g<name>{MASK}", text)

    def value(self, value: Any) -> Any:
        """Return any value as it may be shown: numbers as they are, all else struck out."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {
                self(key) if isinstance(key, str) else key: self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        # Renderers would print it themselves, after this.
        return self(str(value) if isinstance(value, BaseException) else repr(value))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for form in self._forms:
            yield from _found(text, form)
        for form in self._encoded:
            for start, end in _found(text, form):
                # What stands before it in the same run is the user's name; what follows, a rest.
                before = _BASE64_RUN.match(text[:start][::-1])
                after = _BASE64_RUN.match(text, end)
                assert before is not None
                assert after is not None
                yield start - before.end(), after.end()
        # Which characters are percent-encoded, and in which case, is each library's own choice.
        decoded, places = text, list(range(len(text) + 1))
        for _ in range(_MOST_ENCODINGS):
            if "%" not in decoded:
                break
            decoded, places = _unquoted(decoded, places)
            for secret in self._plain:
                for start, end in _found(decoded, secret):
                    yield places[start], places[end]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Strike out the given secrets, and what the place of a text gives away as secret."""
    return Redactor(secrets)(text)


def shown_address(url: str) -> str:
    """Return the scheme, host and port of a URL that is known to be one, whatever is in it."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return redact(url)
    # Spaces are no end here.
    whole = "_".join(rest.split())
    return redact(f"{scheme}://{whole}")


def secrets_in(url: str) -> list[str]:
    """Return what of a URL is likely to be a secret, to be registered: a library may repeat it.

    Those are passwords before the host, values of the query and of a path like
    `/user=admin_password=…`, and long parts of a path with digits, as webhooks have them.
    """
    address, _, query = url.partition("://")[2].partition("?")
    authority, _, path = address.rpartition("@") if "@" in address else ("", "", address)
    found = [authority, authority.partition(":")[2]]
    _, _, path = path.partition("/")
    values = re.split(r"[&;]", query) + path.split("/")
    found += [value.partition("=")[2] for value in values]
    found += [value.rpartition("=")[2] for value in values if value.count("=") > 1]
    found += [
        part
        for part in path.split("/")
        if len(part) >= _SHORTEST_SEGMENT and any(character.isdigit() for character in part)
    ]
    found += [unquote(value) for value in found]
    return [value for value in dict.fromkeys(found) if len(value) >= _SHORTEST_IN_URL]


def _forms(secret: str) -> Iterator[str]:
    """The ways in which a secret may be written."""
    for written in (secret, *_lines(secret)):
        yield written
        encoded = {quote(written, safe=safe) for safe in ("", "/", "!$&'()*+,;=:/~@")}
        encoded |= {quote_plus(written), quote(quote(written, safe=""), safe="")}
        for one in encoded:
            yield one
            yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), one)
        yield json.dumps(written)[1:-1]
        yield json.dumps(written, ensure_ascii=False)[1:-1]
        yield json.dumps(written)[1:-1].replace("/", "\\/")
        yield repr(written)[1:-1]
        yield repr(written.encode("utf-8", "surrogateescape"))[2:-1]
        yield html.escape(written)
        yield written.encode("utf-8", "surrogateescape").hex()


def _lines(secret: str) -> Iterator[str]:
    """The parts of a secret of several lines, such as a key in PEM."""
    for line in secret.splitlines():
        part = line.strip()
        if part != secret and len(part) >= _SHORTEST_PART:
            yield part


def _base64_forms(secret: str) -> Iterator[str]:
    """What of a secret's base64 is the same whatever stands before and behind it."""
    data = secret.encode("utf-8", "surrogateescape")
    for offset in range(3):
        text = b64encode(bytes(offset) + data).decode().rstrip("=")
        # Six bits a character: the first may hold bits of what stands before, the last of what
        # stands behind.
        first = -(-offset * 8 // 6)
        last = (offset + len(data)) * 8 // 6
        core = text[first:last]
        if len(core) >= _SHORTEST_BASE64:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _found(text: str, form: str) -> Iterator[tuple[int, int]]:
    """Where a form stands in a text, or so much of it that it is no ordinary word."""
    least = max(min(_SHORTEST_PART, len(form)), -(-len(form) // 2))
    start = text.find(form[:least])
    while start >= 0:
        end = start + least
        while end - start < len(form) and text.startswith(form[end - start], end):
            end += 1
        yield start, end
        start = text.find(form[:least], start + 1)
    yield from _found_at_cuts(text, form)


def _found_at_cuts(text: str, form: str) -> Iterator[tuple[int, int]]:
    """Where a text was cut in the middle of a form."""
    head, tail = form[:_SHORTEST_CUT_PART], form[-_SHORTEST_CUT_PART:]
    if len(form) <= _SHORTEST_CUT_PART or (head not in text and tail not in text):
        return
    for cut in _CUTS.finditer(text):
        # Of more than three dots the first or the last may be the secret's own.
        for place in range(cut.start(), max(cut.end() - 2, cut.start() + 1)):
            before = text[max(0, place - len(form)) : place]
            yield from _ending(before, form, head, place - len(before))
        if not cut[0].startswith((".", "…")):
            continue
        for place in range(min(cut.start() + 3, cut.end()), cut.end() + 1):
            yield from _beginning(text[place : place + len(form)], form, tail, place)


def _ending(before: str, form: str, head: str, offset: int) -> Iterator[tuple[int, int]]:
    """The longest beginning of a form with which a text ends."""
    at = before.find(head)
    while at >= 0:
        if form.startswith(before[at:]):
            yield offset + at, offset + len(before)
            return
        at = before.find(head, at + 1)


def _beginning(after: str, form: str, tail: str, offset: int) -> Iterator[tuple[int, int]]:
    """The longest end of a form with which a text begins."""
    at = after.rfind(tail)
    while at >= 0:
        if form.endswith(after[: at + len(tail)]):
            yield offset, offset + at + len(tail)
            return
        at = after.rfind(tail, 0, at + len(tail) - 1)


def _unquoted(text: str, places: list[int]) -> tuple[str, list[int]]:
    """Decode percent-encoding once.

    Args:
        places: where each character of the text, and its end, was in the original.

    Returns:
        The text, and where each of its characters was in the original.
    """
    pieces: list[str] = []
    kept: list[int] = []
    done = 0
    for escapes in _ESCAPES.finditer(text):
        pieces.append(text[done : escapes.start()])
        kept += places[done : escapes.start()]
        data = bytes.fromhex(escapes[0].replace("%", ""))
        at = 0
        while at < len(data):
            size = 1 if data[at] < 0xC0 else 2 if data[at] < 0xE0 else 3 if data[at] < 0xF0 else 4
            # One character for each, also where the bytes are none.
            pieces.append(data[at : at + size].decode("utf-8", "replace")[:1])
            kept.append(places[escapes.start() + 3 * at])
            at += size
        done = escapes.end()
    return "".join((*pieces, text[done:])), kept + places[done:]


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    shown_to = 0
    for start, end in sorted(spans):
        if end <= shown_to:
            continue
        if start > shown_to or not pieces:
            pieces += [text[shown_to:start], MASK]
        shown_to = end
    return "".join((*pieces, text[shown_to:]))


def _shown_url(match: re.Match[str]) -> str:
    scheme, rest = match["scheme"], match["rest"]
    if match["separator"] != "://":
        # Encoded inside something else: where its host ends cannot be told.
        return f"{scheme}://{MASK}"
    body = rest.rstrip(_CLOSING)
    end = rest[len(body) :]
    if rest.startswith(MASK) and not rest[len(MASK) :].strip(_CLOSING):
        return match[0]
    authority = _AUTHORITY.match(body)
    assert authority is not None
    user, at, place = authority[0].rpartition("@")
    host = _HOST.fullmatch(place)
    after = body[authority.end() :]
    if host is None or ("@" in after and not (not user and _is_address(host["name"]))):
        # A careless password may hold a slash: then what looks like the host is the user's name.
        return f"{scheme}://{MASK}{end}" if body else match[0]
    shown = f"{scheme}://{f'{MASK}@' if at else ''}{place}"
    if after.strip("/") or "…" in end:
        return f"{shown}/…{end.replace('…', '')}"
    return f"{shown}{after}{end}"


def _is_address(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
