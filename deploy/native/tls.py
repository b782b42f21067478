"""Whether Nginx can speak TLS with the two files it is given, and what callers should know of the certificate.

In come the settings of TLS; out goes nothing, or an error that names the setting and what to do, before
anything is started; and for the welcome the name that the certificate is for.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from deploy.native.layout import DeploymentError
from wire.tls import Tls

_CERTIFICATE, _KEY = "WARREN_TLS__CERTIFICATE_FILE", "WARREN_TLS__KEY_FILE"
_OR_NEITHER = f"or unset {_CERTIFICATE} and {_KEY} for plain HTTP"


def check(tls: Tls) -> None:
    """Raises DeploymentError where Nginx would not start with these files."""
    if tls.certificate_file is None or tls.key_file is None:
        return
    certificate = _read(_CERTIFICATE, tls.certificate_file)
    key = _read(_KEY, tls.key_file)
    try:
        x509.load_pem_x509_certificates(certificate)
    except ValueError as error:
        raise _refusal(_CERTIFICATE, tls.certificate_file, "is no certificate in PEM form", "name one") from error
    if b"ENCRYPTED" in key:
        without = f"take it off (openssl pkey -in {tls.key_file} -out FILE) and name that file"
        raise _refusal(_KEY, tls.key_file, "has a passphrase, which nobody could type at a start", without)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate_file, tls.key_file)
    except ssl.SSLError as error:
        what = f"cannot be used with {_CERTIFICATE}={tls.certificate_file} ({error.reason or error})"
        raise _refusal(_KEY, tls.key_file, what, "name two files that belong together") from error


def name_and_standing(certificate_file: Path) -> tuple[str, bool]:
    """A host name that the certificate is for, empty where it has only addresses and patterns; and whether it is
    signed by itself, so that callers trust it only when they are given it.
    """
    certificate = x509.load_pem_x509_certificates(certificate_file.read_bytes())[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    plain = [name for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    return "".join(plain[:1]), certificate.issuer == certificate.subject


def _read(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise _refusal(setting, file, what, "name a file that you can read") from error


def _refusal(setting: str, file: Path, what: str, todo: str) -> DeploymentError:
    return DeploymentError(f"{setting}={file} {what}: {todo}, {_OR_NEITHER}.")
