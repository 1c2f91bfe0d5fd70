"""Whom a connection of ours trusts, the same with every Python, and why it trusted somebody not."""

from __future__ import annotations

import ssl
from pathlib import Path

from streamgate.errors import ConfigError

__all__ = ["certificate_fault", "trusting"]

# X509_V_ERR_* of OpenSSL's x509_vfy.h, in the words of somebody who can do something about it.
_FAULTS = {
    9: "it is not valid yet: compare the clocks of both machines",
    10: "it has expired",
    18: "it is signed by itself: give it, or better its authority, as ca_file",
    19: "its chain ends at an authority that is not trusted: give that authority as ca_file",
    20: "the authority that signed it is not trusted: give that authority as ca_file, or have the "
    "server send the certificates in between",
    21: "the authority that signed it is not trusted: give that authority as ca_file, or have the "
    "server send the certificates in between",
    24: "the authority's own certificate lacks basicConstraints CA:TRUE",
    32: "the authority's own certificate lacks keyUsage keyCertSign",
    62: "its subjectAltName lacks the host's name",
    64: "its subjectAltName lacks the host's address, as an IP",
    79: "the authority's own certificate lacks basicConstraints CA:TRUE",
}
_DEEPEST = 8


def trusting(
    ca_file: Path | None, client_cert_file: Path | None = None, client_key_file: Path | None = None
) -> ssl.SSLContext:
    """A context that verifies the server; it reads files, so call it off the event loop.

    Python 3.13 began to refuse certificates that lack what RFC 5280 asks for and hardly anybody
    looks at, above all the Authority Key Identifier, which private authorities often leave out. It
    also began to take an authority that is itself signed by another. Both are settled here: the
    first is not asked for, the second is allowed.

    Args:
        ca_file: PEM file of the authorities, which are the only ones; None takes the system's.
        client_cert_file: PEM file of our certificate, for servers that ask for one.
        client_key_file: PEM file of its key, unless it is in the same file.

    Raises:
        ConfigError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if client_cert_file is not None:
            context.load_cert_chain(client_cert_file, client_key_file)
    except (OSError, ssl.SSLError) as error:
        named = [ca_file, client_cert_file, client_key_file]
        shown = ", ".join(str(path) for path in named if path is not None)
        raise ConfigError(f"TLS cannot be set up from {shown}: {_reason(error)}") from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def certificate_fault(error: BaseException | None) -> str | None:
    """What is wrong with a server's certificate, if that is what an error is about.

    Client libraries wrap the error that says so, and each in its own way.
    """
    for _ in range(_DEEPEST):
        if error is None:
            return None
        # An error of aiohttp is of this class too, without what Python's own knows.
        if isinstance(error, ssl.SSLCertVerificationError) and hasattr(error, "verify_code"):
            told = _FAULTS.get(error.verify_code, error.verify_message)
            return f"the server's certificate is not trusted: {told}"
        error = error.__cause__ or error.__context__
    return None


def _reason(error: OSError | ssl.SSLError) -> str:
    return error.strerror or getattr(error, "reason", None) or type(error).__name__
