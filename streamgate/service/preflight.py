"""What must be there before a scorer service can run: looked for by `streamgate check`."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

from streamgate.config import ScorerConfig
from streamgate.config.scorer import ListenSection
from streamgate.errors import StreamgateError
from streamgate.quality import Scorer

__all__ = ["preflight"]


def preflight(config: ScorerConfig) -> list[str]:
    """Load what the file names, and return what is wrong as `key: got ...; wanted ...`."""
    return [*_sockets(config.listen), *_certificate(config.listen), *_network(config)]


def _sockets(listen: ListenSection) -> Iterator[str]:
    if listen.unix is None:
        return
    folder = listen.unix.parent
    if not folder.is_dir():
        yield f"listen.unix: got {listen.unix}, whose folder is not there; wanted one that exists"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield (
            f"listen.unix: got {listen.unix}, but nothing may be written into {folder}; wanted a "
            "folder that this user may write into"
        )


def _certificate(listen: ListenSection) -> Iterator[str]:
    if listen.cert_file is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a function it would ask the terminal for a passphrase.
        context.load_cert_chain(listen.cert_file, listen.key_file, password=lambda: "")
        if listen.client_ca_file is not None:
            context.load_verify_locations(listen.client_ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or getattr(error, "reason", None) or type(error).__name__
        yield (
            f"listen.cert_file: got PEM files that cannot be used ({reason}); wanted a "
            "certificate, its key, not encrypted, and authorities that fit"
        )


def _network(config: ScorerConfig) -> Iterator[str]:
    section = config.quality
    try:
        Scorer.load(
            section.weights,
            group=section.group,
            device=section.device,
            precision=section.precision,
            batch_size=section.batch_size,
            calibration=section.calibration,
            cuda_graphs=section.cuda_graphs,
        )
    except StreamgateError as error:
        yield f"quality: {error}"
