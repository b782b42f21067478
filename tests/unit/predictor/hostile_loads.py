"""Loads every model of a volume as a predictor does, one after the other, and says how each ended.

Run as ``python -m tests.unit.predictor.hostile_loads MODELS PUBLIC_KEY SOUND...``: the sound ones come first, so
that no library is imported while a hostile one is measured. A line of JSON for each model.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from model_store.signing import Verifier
from model_store.volume import Volume
from predictor.registry import Registry
from tests import watching
from wire import errors, settings
from wire.deadlines import Deadline


def main() -> None:
    """Load and tell."""
    models, key, sound = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    volume = Volume(models)
    events = watching.watch(loaders=False)
    for model in [*sound, *sound, *(name for name in volume.folders() if name not in sound)]:
        registry = Registry(volume, Verifier(key), settings.Predict().memory_bytes)
        before_kb, began_s = _begin_peak(), time.process_time()
        try:
            registry.get(model, 1, Deadline.after(60))
            code = ""
        except errors.WarrenError as error:
            code = error.code
        except Exception as error:
            code = f"{type(error).__name__}: {error}"
        grown_mb = (_memory_kb("VmHWM") - before_kb) / 1024
        told = {"model": model, "code": code, "grown_mb": grown_mb, "cpu_s": time.process_time() - began_s}
        print(json.dumps({**told, "events": events}), file=sys.__stdout__, flush=True)
        events.clear()


def _begin_peak() -> int:
    """The memory now (kB), from which on the process's peak is counted."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory_kb("VmRSS")


def _memory_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


if __name__ == "__main__":
    main()
