"""A certificate authority for tests of encrypted connections."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]

_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; who trusts `ca_file` trusts them.

    Args:
        folder: where the files are written; it is made.
        complete: whether certificates hold all that RFC 5280 asks for. Many private authorities
            leave out the identifiers of keys and what a key may be used for.
        marked: whether the authority's certificate says that it is one.
        above: the authority that signed this one; None signs itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        complete: bool = True,
        marked: bool = True,
        above: Authority | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._complete = complete
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA {folder.name}")])
        signer = above or self
        draft = _draft(self._name, signer._name, self._key)
        draft = draft.add_extension(x509.BasicConstraints(ca=marked, path_length=None), True)
        if complete:
            draft = draft.add_extension(_SIGNS, critical=True)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(_pem(signer._signed(draft, self._key)))

    def certificate(self, host: str, *, named: bool = True, expired: bool = False) -> Path:
        """Return a PEM file with a certificate for a host name or address, and its key.

        Args:
            named: whether the certificate holds the host as more than its common name.
            expired: whether it was valid until yesterday only.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        draft = _draft(subject, self._name, key, days=-1 if expired else 1)
        if named:
            names = x509.SubjectAlternativeName([_general_name(host)])
            draft = draft.add_extension(names, critical=False)
        if self._complete:
            no_authority = x509.BasicConstraints(ca=False, path_length=None)
            draft = draft.add_extension(no_authority, critical=True)
        path = self._folder / f"{host}.pem"
        path.write_bytes(
            _pem(self._signed(draft, key))
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    def _signed(
        self, draft: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        if self._complete:
            of_signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            of_subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            draft = draft.add_extension(of_signer, False).add_extension(of_subject, False)
        return draft.sign(self._key, hashes.SHA256())


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int = 1
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + days * _DAY)
    )
