"""Ed25519 signatures over manifests: the trainer signs, everyone else can only verify.

``manifest.sig`` is a JSON object of ``key_id`` and ``signature`` (base64) over the manifest's
bytes. A public key file may hold several PEM blocks one after another: old versions stay
readable while keys rotate.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from model_store import errors

SIGNATURE_MAX_BYTES = 4096
"""Largest signature file anyone reads."""

_PUBLIC_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)


class _Signature(msgspec.Struct, frozen=True):
    key_id: str
    signature: bytes


def _key_id(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


class Verifier:
    """Checks signatures against the public keys of a file."""

    def __init__(self, public_key_file: Path) -> None:
        """Load the keys. Raises ValueError when the file holds no Ed25519 public key."""
        self._keys: dict[str, Ed25519PublicKey] = {}
        for block in _PUBLIC_BLOCK.findall(public_key_file.read_bytes()):
            key = serialization.load_pem_public_key(block)
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError(f"{public_key_file} holds a key that is not Ed25519")
            self._keys[_key_id(key)] = key
        if not self._keys:
            raise ValueError(f"{public_key_file} holds no public key")

    def check(self, data: bytes, signature_file: bytes) -> None:
        """Accept ``data`` if the content of ``manifest.sig`` signs it. Raises errors.Corrupt."""
        try:
            signed = msgspec.json.decode(signature_file, type=_Signature)
        except ValueError as error:
            raise errors.Corrupt("the signature cannot be read") from error
        # Base64 and JSON have many spellings of one value; only ours is whole.
        if msgspec.json.encode(signed) != signature_file:
            raise errors.Corrupt("the signature file was changed")
        key = self._keys.get(signed.key_id)
        if key is None:
            raise errors.Corrupt("signed with a key that is not trusted here")
        try:
            key.verify(signed.signature, data)
        except InvalidSignature as error:
            raise errors.Corrupt("the signature does not match the manifest") from error


class Signer:
    """Signs with the private key of a file."""

    def __init__(self, private_key_file: Path) -> None:
        """Load the key. Raises ValueError when it is not an Ed25519 private key in PEM."""
        key = serialization.load_pem_private_key(private_key_file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{private_key_file} is not an Ed25519 key")
        self._key = key
        self._key_id = _key_id(key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The content of ``manifest.sig`` for these bytes."""
        return msgspec.json.encode(_Signature(self._key_id, self._key.sign(data)))


def generate_keys(folder: Path) -> tuple[Path, Path]:
    """Make ``signing.key`` (mode 0600) and ``signing.pub`` (0644) unless they are there.

    Returns the two paths. The private key is never overwritten; a missing public key is
    written anew from it.
    """
    private_file, public_file = folder / "signing.key", folder / "signing.pub"
    folder.mkdir(parents=True, exist_ok=True)
    if not private_file.exists():
        _write_new(private_file, _private_pem(Ed25519PrivateKey.generate()), 0o600)
    if not public_file.exists():
        key = serialization.load_pem_private_key(private_file.read_bytes(), password=None)
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        _write_new(public_file, pem, 0o644)
    return private_file, public_file


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # Another process may make the keys at the same moment: only a whole file appears, and only once.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
