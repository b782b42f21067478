"""The branch of the settings tree (settings.py) that turns TLS on at the only door.

In come the names of two files; out they go to whoever writes Nginx's configuration (deploy/native/nginx.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from wire.section import Section


class Tls(Section):
    """TLS at Nginx, on all of its ports, as soon as both files are named. `make up` reads it, and no other process."""

    certificate_file: Path | None = None
    """PEM file with the certificate, then those that it was signed with. Renewed, it is served from the next
    `make up` on."""
    key_file: Path | None = None
    """PEM file with the certificate's private key, without a passphrase; only whoever runs `make up` should be able
    to read it."""

    @property
    def on(self) -> bool:
        """Whether Nginx speaks TLS; then it speaks nothing else."""
        return self.certificate_file is not None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            missing = "WARREN_TLS__KEY_FILE" if self.on else "WARREN_TLS__CERTIFICATE_FILE"
            raise ValueError(f"TLS takes two files: set {missing} as well, or neither for plain HTTP")
        return self
