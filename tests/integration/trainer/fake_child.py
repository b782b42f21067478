"""Stands in for the child that fits: does what the request's ``params`` say, in a moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from trainer.spec import ChildProgress, ChildResult, ChildSpec, Comparison, Trained
from wire import errors

PRELOADED = ()


def main(arguments: list[str]) -> int:
    draft = Path(arguments[0])
    spec = ChildSpec.read(draft)
    orders = spec.request.params
    pids = [os.getpid()]
    if orders.get("grandchild"):
        pids.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]).pid)
    # In one line: of two that come at once the trainer hears the newer.
    say(0.1, "reading", " ".join(map(str, pids)))
    wait(orders.get("wait_for"))
    if orders.get("die"):
        sys.stderr.write(orders["die"] + "\n")
        sys.exit(3)
    if orders.get("kill"):
        os.kill(os.getpid(), 9)
    if orders.get("error"):
        error = errors.REGISTERED[orders["error"]]("a sentence")
        ChildResult(error=error.to_body()).write(draft)
        return 0
    say(0.9, "writing", f"champion {spec.champion}, {spec.kind}, {spec.dataset_path}")
    wait(orders.get("write_when"))
    write(draft, spec)
    return 0


def wait(file: str | None) -> None:
    while file and not Path(file).exists():
        time.sleep(0.02)


def say(fraction: float, stage: str, message: str = "") -> None:
    sys.stdout.buffer.write(msgspec.json.encode(ChildProgress(fraction, stage, message)) + b"\n")
    sys.stdout.buffer.flush()


def write(draft: Path, spec: ChildSpec) -> None:
    orders = spec.request.params
    for name in ("model.onnx", "schema.json", "samples.json", "left_over.part"):
        (draft / name).write_bytes(b"{}" * 10)
    trained = Trained(
        estimator="Fake",
        task="classification",
        params={},
        features={},
        target=spec.request.target,
        classes=["a", "b"],
        metrics={"accuracy": 0.5},
        score=0.5,
        scoring="accuracy",
        dataset={"sample": "iris", "digest": "00", "rows": 150},
        runtime="onnx",
        runtime_report={},
        libraries={},
        holdout={},
        report={},
        files=("model.onnx", "schema.json", "samples.json"),
    )
    better = orders.get("better", True) if spec.champion else None
    reason = "it is at least as good" if better else "it is not as good"
    comparison = Comparison(champion=spec.champion, champion_score=0.4, better=better, reason=reason)
    ChildResult(trained=trained, comparison=comparison).write(draft)
