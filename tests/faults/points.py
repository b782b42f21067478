"""Named moments in the life of a training and of a prediction, at which a process can be ended.

Production code has no failpoints: a point names a function of it, and ``woven`` wraps that function when
a process of a test stack starts. A point whose function is gone fails ``tests/unit/faults``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from wire import frames, messages, topology

Role = Literal["api", "worker", "trainer", "predictor"]


def _always(*_given: Any, **_named: Any) -> bool:
    return True


def _jobs_queue(_self: object, exchange: str, *_given: Any, **_named: Any) -> bool:
    return exchange == topology.JOBS


def _fitting(_self: object, _fraction: float, stage: str, *_given: Any) -> bool:
    return stage in ("reading", "preparing", "fitting", "judging", "compiling")


def _version_folder(_self: object, target: Any) -> bool:
    return re.fullmatch(r"v\d{8}", getattr(target, "name", "")) is not None


def _train_done(_self: object, reply: object) -> bool:
    return isinstance(reply, messages.TrainDone)


def _batch_reply(_self: object, _body: bytes, kind: str) -> bool:
    return kind == frames.REPLY_TYPE


@dataclass(frozen=True)
class Point:
    """A moment: just before or just after a call of ``target`` whose arguments satisfy ``when``."""

    role: Role
    moment: Literal["before", "after"]
    target: str
    when: Callable[..., bool] = _always


TRAIN: dict[str, Point] = {
    "api.before_publish": Point("api", "before", "wire.async_client:AsyncRpcClient.publish", _jobs_queue),
    "api.after_publish_before_confirm": Point("api", "after", "wire.publisher:Publisher.send", _jobs_queue),
    "api.after_confirm_before_202": Point("api", "after", "wire.async_client:AsyncRpcClient.publish", _jobs_queue),
    "worker.after_receive": Point("worker", "before", "api.jobs.task:JobTask.run"),
    "worker.after_lease_before_ack": Point("worker", "after", "api.ledger.leases:Leases.take"),
    "worker.before_rpc_publish": Point("worker", "before", "api.jobs.following:Follower.run"),
    "worker.after_rpc_publish": Point("worker", "before", "api.jobs.following:Follower._listen"),
    "worker.after_reply_before_ledger": Point("worker", "before", "api.jobs.task:JobTask._finish"),
    "worker.after_ledger": Point("worker", "after", "api.jobs.task:JobTask._finish"),
    "trainer.after_receive": Point("trainer", "before", "trainer.training:Trainings.handle"),
    "trainer.after_child_before_ack": Point("trainer", "before", "wire.requests:Request.ack"),
    "trainer.mid_fit": Point("trainer", "before", "trainer.pulse:Pulse.say", _fitting),
    "trainer.mid_write": Point("trainer", "after", "model_store.publishing:_sealed_file"),
    "trainer.after_fsync_before_rename": Point("trainer", "before", "pathlib:Path.rename", _version_folder),
    "trainer.after_rename_before_dirsync": Point("trainer", "after", "pathlib:Path.rename", _version_folder),
    "trainer.after_publish_before_promotion": Point("trainer", "after", "model_store.publishing:publish"),
    "trainer.after_promotion_before_reply": Point("trainer", "after", "trainer.promotion:Promoter.finish"),
    "trainer.after_reply": Point("trainer", "after", "wire.requests:Request._finish", _train_done),
}
"""Of POST /train, in the order a job passes them."""

PREDICT: dict[str, Point] = {
    "api.after_predict_publish": Point("api", "after", "api.predict.batches:Copy.send"),
    "predictor.after_receive": Point("predictor", "before", "predictor.batches:Batches.shortcut"),
    "predictor.mid_load": Point("predictor", "after", "model_store.reading:read"),
    "predictor.mid_predict": Point("predictor", "after", "predictor.inference:together"),
    "predictor.after_reply_before_ack": Point("predictor", "after", "wire.requests:Request._post_reply", _batch_reply),
    "api.after_reply_before_response": Point("api", "before", "api.predict.exchange:Exchange.answer"),
}
"""Of POST /predict, in the order a request passes them."""

BULK: dict[str, Point] = {
    "predictor.mid_block": Point("predictor", "after", "predictor.bulk:Bulk._answer"),
}
"""Of offline predictions; ``predictor.after_reply_before_ack`` is also one of theirs."""

POINTS: dict[str, Point] = TRAIN | PREDICT | BULK
