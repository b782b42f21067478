"""The trainer with the child that really fits: from a request to a version a predictor can load."""

from __future__ import annotations

from collections.abc import Callable

from model_store import reading, runtime, signing
from model_store.volume import Volume
from tests.integration.trainer.peers import Worker, champion
from trainer.service import TrainerService
from trainer.training import CHILD_MODULE
from wire import messages, settings


def test_a_model_is_trained_compared_and_promoted(
    start_trainer: Callable[..., TrainerService], worker: Worker, volume: Volume, config: settings.Settings
) -> None:
    start_trainer(child_module=CHILD_MODULE)
    verifier = signing.Verifier(config.paths.verify_key_file)
    for version in (1, 2):
        request = messages.TrainRequest(
            job_id=f"job-{version}",
            attempt=1,
            model="iris",
            dataset=messages.DatasetRef(sample="iris"),
            target="target",
            estimator="LogisticRegression",
        )
        with worker.training(request) as training:
            done = training.done()
        assert (done.version, done.promoted) == (version, True), done

    artefact = reading.read(volume, "iris", 2, verifier, 10**8)
    loaded = runtime.load(artefact)
    runtime.check_samples(loaded, artefact)
    assert artefact.manifest.comparison["champion"] == 1
    assert champion(volume) == 2
    assert {said.stage for said in training.progress} >= {"starting", "publishing", "warming"}
