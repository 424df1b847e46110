"""Certificates of one farm run: an authority that lives in memory, and one certificate a machine.

The only home of cryptography. The authority's key is never written anywhere.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: Long enough for a night of benchmarks; nothing can be joined with it afterwards.
LIFETIME = timedelta(days=3)
SKEW = timedelta(days=1)  # clocks of hosts may be behind


class Certificate(NamedTuple):
    """What a machine proves itself with, each in PEM: its certificate, its key, the authority."""

    certificate: str
    key: str
    authority: str


class Authority:
    """Signs certificates for the members of one cluster; whoever has none is no member."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # noqa: FBT003
        builder = _begin("turbofarm authority", "turbofarm authority", self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)  # noqa: FBT003
        self._own = builder.add_extension(usage, True).sign(self._key, hashes.SHA256())  # noqa: FBT003

    def issue(self, address: str) -> Certificate:
        """Return a certificate for the machine at an IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        places = [ipaddress.ip_address(address), ipaddress.ip_address("127.0.0.1")]
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), *(x509.IPAddress(place) for place in places)]
        )
        builder = _begin(address, "turbofarm authority", key).add_extension(names, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return Certificate(_pem(signed), _secret(key), _pem(self._own))


def _begin(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _secret(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
