"""Certificates that tests make for themselves."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def make(
    folder: Path, *names: str, passphrase: bytes = b"", stem: str = "door", nameless: bool = False
) -> tuple[Path, Path]:
    """A certificate for this machine and ``names``, signed by itself, and its key, as two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem)])
    addresses: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if not nameless:
        held = x509.SubjectAlternativeName([*map(x509.DNSName, names), *addresses])
        builder = builder.add_extension(held, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    secret = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    files = folder / f"{stem}.pem", folder / f"{stem}.key"
    files[0].write_bytes(certificate.public_bytes(_PEM))
    files[1].write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, secret))
    return files
