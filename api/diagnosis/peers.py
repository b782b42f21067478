"""How predictors and the trainer in charge of changes are, in their own words.

Between the broker's queues and the checks of a diagnosis. Whoever takes the question answers it:
as many are sent as there are predictors, and the broker deals them out in turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from api.diagnosis.checks import LOOK_S, Check, room
from api.state import State
from wire import build, errors, messages, topology
from wire.deadlines import Deadline

MOST_ASKED: Final = 8
"""Predictors that are asked at once."""
SKEW_S: Final = 2.0
"""Seconds two clocks may differ; beyond that, times of jobs and versions are out of order."""
_MARGIN_S = 0.2
_MODELS_MEND = "Free space, or lower WARREN_RETENTION__VERSIONS_PER_MODEL and delete versions."


async def predictors(state: State) -> list[Check]:
    """Every predictor that answers, at most MOST_ASKED. Raises errors.NotAnswered kinds."""
    count = (await state.rpc.queue_state(topology.MODELS)).consumers
    if not count:
        raise errors.Unroutable
    asked = (_ask(state, topology.MODELS) for _ in range(min(count, MOST_ASKED)))
    answers = await asyncio.gather(*asked)
    told = {answer.process: (answer, skew) for answer, skew in answers}
    found = []
    for process in sorted(told):
        answer, skew_s = told[process]
        name = f"predictor {process}"
        found += _process(name, answer, skew_s)
        if not answer.volume.readable:
            mend = "Mount the model volume there, and let the predictor's user read it."
            found.append(Check(name, "failed", "cannot read the model volume", mend))
    return found


async def trainer(state: State) -> list[Check]:
    """The trainer that makes changes, and the volume, which it alone writes to. Raises errors.NotAnswered kinds."""
    if not (await state.rpc.queue_state(topology.CHANGES)).consumers:
        raise errors.Unroutable
    answer, skew_s = await _ask(state, topology.CHANGES)
    found = _process(f"trainer {answer.process}", answer, skew_s)
    volume = answer.volume
    if not volume.writable:
        mend = "Is the disk full or read-only, or does the folder belong to another user?"
        return [*found, Check("model volume", "failed", "the trainer cannot write to it", mend)]
    return [*found, room("model volume", volume.free_bytes, volume.size_bytes, "can be written to", _MODELS_MEND)]


async def _ask(state: State, queue: str) -> tuple[messages.Examined, float]:
    """A process's answer, and by how many seconds its clock certainly differs from ours."""
    before = time.time()
    deadline = Deadline.after(LOOK_S - _MARGIN_S)
    answer = await state.rpc.call(queue, messages.Examine(), messages.Examined, deadline=deadline)
    after = time.time()
    theirs = answer.at_ms / 1000
    return answer, max(0.0, before - theirs, theirs - after)


def _process(name: str, answer: messages.Examined, skew_s: float) -> list[Check]:
    versions = ", ".join(f"{library} {version}" for library, version in answer.libraries.items())
    if answer.build != build.BUILD:
        seen = f"runs code {answer.build}, this replica {build.BUILD}"
        return [Check(name, "warning", seen, "Two releases run; restart the older processes (make up).")]
    if skew_s > SKEW_S:
        seen = f"its clock is {skew_s:.1f} s away from this replica's"
        return [Check(name, "warning", seen, "Set both machines' clocks by NTP.")]
    return [Check(name, "ok", f"answers, same code, clocks agree ({versions})")]
