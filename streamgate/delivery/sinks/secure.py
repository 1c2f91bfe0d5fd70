"""What every network sink needs: TLS from its config, and messages without secrets."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from streamgate.errors import DeliveryError
from streamgate.values.redaction import redact

__all__ = ["TlsFiles", "clean", "plain", "tls_context"]

_LONGEST_MESSAGE = 200


class TlsFiles(Protocol):
    """The keys of a section that TLS is set up from."""

    @property
    def ca_file(self) -> Path | None:
        """Authority that signed the server's certificate."""
        ...

    @property
    def client_cert_file(self) -> Path | None:
        """Our certificate."""
        ...

    @property
    def client_key_file(self) -> Path | None:
        """Its private key."""
        ...


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that verifies the server; it reads files, so call it off the event loop.

    Raises:
        DeliveryError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=files.ca_file)
        if files.client_cert_file is not None:
            context.load_cert_chain(files.client_cert_file, files.client_key_file)
    except (OSError, ssl.SSLError) as error:
        named = [files.ca_file, files.client_cert_file, files.client_key_file]
        shown = ", ".join(str(path) for path in named if path is not None)
        raise DeliveryError(f"TLS cannot be set up from {shown}: {_reason(error)}") from None
    return context


def plain(secret: SecretStr | None) -> str | None:
    """The text of a secret, for the client library that must have it."""
    return None if secret is None else secret.get_secret_value()


def clean(text: object, secrets: Iterable[SecretStr | None] = ()) -> str:
    """A foreign text on one line, cut short, without the secrets that it may repeat."""
    known = [secret.get_secret_value() for secret in secrets if secret is not None]
    shown = redact(str(text), known)
    shown = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    return shown if len(shown) <= _LONGEST_MESSAGE else shown[: _LONGEST_MESSAGE - 1] + "…"


def _reason(error: OSError | ssl.SSLError) -> str:
    return error.strerror or getattr(error, "reason", None) or type(error).__name__
