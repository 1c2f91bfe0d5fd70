"""Whom a connection trusts, by handshakes without a network; the same with every Python."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from streamgate.config.tls import certificate_fault, trusting
from streamgate.errors import ConfigError
from tests.servers.tls import Authority

HOST = "recogniser.example"


def shake_hands(
    ca_file: Path | None, certificate: Path, *, host: str = HOST, ours: Path | None = None
) -> None:
    """Let a client of ours meet a server with a certificate."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    if ours is not None:
        serving.load_verify_locations(ca_file)
        serving.verify_mode = ssl.CERT_REQUIRED
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(ca_file, ours).wrap_bio(back, there, server_hostname=host)
    server = serving.wrap_bio(there, back, server_side=True)
    open_ends = {client, server}
    while open_ends:
        for end in (client, server):
            try:
                end.do_handshake()
                open_ends.discard(end)
            except ssl.SSLWantReadError:
                continue


def fault(ca_file: Path | None, certificate: Path, host: str = HOST) -> str:
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        shake_hands(ca_file, certificate, host=host)
    return certificate_fault(raised.value) or ""


@pytest.mark.parametrize("complete", [True, False])
def test_a_private_authority_is_trusted_as_they_are_commonly_made(
    complete: bool, tmp_path: Path
) -> None:
    """With all that RFC 5280 asks for, and without key identifiers and key usage."""
    authority = Authority(tmp_path, complete=complete)
    shake_hands(authority.ca_file, authority.certificate(HOST))


def test_a_common_name_is_enough_for_a_host_and_not_for_an_address(tmp_path: Path) -> None:
    """Where the certificate names no host by subjectAltName at all."""
    authority = Authority(tmp_path)
    shake_hands(authority.ca_file, authority.certificate(HOST, named=False))
    certificate = authority.certificate("192.0.2.1", named=False)
    assert "lacks the host's address" in fault(authority.ca_file, certificate, "192.0.2.1")


def test_an_authority_that_another_signed_may_be_the_one_that_is_trusted(tmp_path: Path) -> None:
    """Its own certificate is enough; the root's need not be there."""
    root = Authority(tmp_path / "root")
    department = Authority(tmp_path / "department", above=root)
    shake_hands(department.ca_file, department.certificate(HOST))


def test_our_certificate_is_shown_to_a_server_that_asks(tmp_path: Path) -> None:
    """The file may hold its key too."""
    authority = Authority(tmp_path)
    shake_hands(
        authority.ca_file, authority.certificate(HOST), ours=authority.certificate("camera")
    )


@pytest.mark.parametrize("complete", [True, False])
def test_the_fault_names_what_the_certificate_lacks(complete: bool, tmp_path: Path) -> None:
    """A name, its date, or an authority that is trusted."""
    authority = Authority(tmp_path / "ours", complete=complete)
    other = Authority(tmp_path / "other", complete=complete)
    trusted = authority.ca_file
    assert "subjectAltName lacks the host's name" in fault(trusted, authority.certificate("door"))
    assert "it has expired" in fault(trusted, authority.certificate(HOST, expired=True))
    certificate = other.certificate(HOST)
    assert "give that authority as ca_file" in fault(trusted, certificate)
    assert "give that authority as ca_file" in fault(None, certificate)


def test_an_authority_that_does_not_say_it_is_one_is_refused(tmp_path: Path) -> None:
    """The fault names the field that is missing."""
    authority = Authority(tmp_path, complete=False, marked=False)
    told = fault(authority.ca_file, authority.certificate(HOST))
    assert "lacks basicConstraints CA:TRUE" in told


def test_a_wrapped_fault_is_found(tmp_path: Path) -> None:
    """Client libraries raise errors of their own from it; what is something else is none."""
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        shake_hands(authority.ca_file, other.certificate(HOST))
    wrapped = OSError("cannot connect")
    wrapped.__cause__ = raised.value
    assert certificate_fault(wrapped) == certificate_fault(raised.value)
    assert certificate_fault(OSError("refused")) is None


def test_a_file_that_holds_no_authority_is_named(tmp_path: Path) -> None:
    """With what is wrong with it."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        trusting(path)
