"""Publishes one version as a trainer does, and says so; its arguments are the home and the job."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from model_store import publishing, signing
from model_store.volume import Volume
from tests.unit.model_store.disturbing import Store, manifest_of


def main(home: Path, job_id: str) -> None:
    keys = home / "keys"
    store = Store(Volume(home / "models"), signing.Signer(keys / "signing.key"), signing.Verifier(keys / "signing.pub"))
    folder = store.draft(job_id=job_id)
    published = publishing.publish(store.volume, folder, manifest_of(job_id=job_id), store.signer, store.verifier)
    os.write(1, b"published %d" % published.version)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
