"""What every network sink needs: TLS from its config, and messages without secrets."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from streamgate.config.tls import certificate_fault, trusting
from streamgate.errors import ConfigError, DeliveryError, SinkFault
from streamgate.values.redaction import redact

__all__ = ["TlsFiles", "clean", "plain", "tls_context", "told"]

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
        return trusting(files.ca_file, files.client_cert_file, files.client_key_file)
    except ConfigError as error:
        raise DeliveryError(str(error), fault=SinkFault.AWAY) from None


def told(error: Exception | str, secrets: Iterable[SecretStr | None] = ()) -> str:
    """What a client library's error says, or what is wrong with the server's certificate."""
    fault = certificate_fault(error) if isinstance(error, Exception) else None
    return clean(fault or error, secrets) or type(error).__name__


def plain(secret: SecretStr | None) -> str | None:
    """The text of a secret, for the client library that must have it."""
    return None if secret is None else secret.get_secret_value()


def clean(text: object, secrets: Iterable[SecretStr | None] = ()) -> str:
    """A foreign text on one line, cut short, without the secrets that it may repeat."""
    known = [secret.get_secret_value() for secret in secrets if secret is not None]
    shown = redact(str(text), known)
    shown = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    return shown if len(shown) <= _LONGEST_MESSAGE else shown[: _LONGEST_MESSAGE - 1] + "…"
