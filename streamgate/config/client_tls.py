"""How a client of ours trusts a server, and shows it who it is."""

from __future__ import annotations

from pydantic import Field

from streamgate.config.section import ExistingFile, Section

__all__ = ["ClientTlsSection"]


class ClientTlsSection(Section):
    """Files for TLS; `config.tls.client_context` takes them."""

    ca_file: ExistingFile = Field(
        default=None,
        description="Certificate of the authority that signed the server's own, a PEM file. "
        "Default: the authorities that the system trusts.",
    )
    client_cert_file: ExistingFile = Field(
        default=None,
        description="Client certificate, a PEM file, for servers that require one (mutual TLS).",
    )
    client_key_file: ExistingFile = Field(
        default=None,
        description="Private key of client_cert_file, a PEM file. Default: it is in "
        "client_cert_file.",
    )
