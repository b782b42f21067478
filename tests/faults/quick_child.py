"""The trainer's child in a fault stack: models named ``quick-…`` get a small prepared artefact, all others a real fit.

Those named ``poison-…`` end it.
Everything around the fit stays real: the draft, the seal, the rename, the signature, loading and promotion.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from trainer import child
from trainer.spec import ChildProgress, ChildResult, ChildSpec, Comparison, Trained

MODULE = "tests.faults.quick_child"
PRELOADED = child.PRELOADED
PREFIX = "quick-"
POISON = "poison-"
PREPARED = "quick-artefact"
"""The folder, beside the model volume, that holds the artefact's files and ``trained.json``."""


def main(arguments: list[str]) -> int:
    draft = Path(arguments[0])
    spec = ChildSpec.read(draft)
    if spec.request.model.startswith(POISON):
        os._exit(41)
    if not spec.request.model.startswith(PREFIX):
        return child.main(arguments)
    for stage, fraction in (("reading", 0.1), ("fitting", 0.6), ("writing", 0.95)):
        sys.stdout.buffer.write(msgspec.json.encode(ChildProgress(fraction, stage)) + b"\n")
        sys.stdout.buffer.flush()
    prepared = Path(spec.models_path).parent / PREPARED
    trained = msgspec.json.decode((prepared / "trained.json").read_bytes(), type=Trained)
    for name in trained.files:
        (draft / name).write_bytes((prepared / name).read_bytes())
    better = True if spec.champion else None
    comparison = Comparison(
        champion=spec.champion, champion_score=trained.score, better=better, reason="it is the same model"
    )
    ChildResult(trained=trained, comparison=comparison).write(draft)
    return 0
