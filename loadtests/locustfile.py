"""Warren under a realistic mix: predictions on several models, trainings beside them, promotions.

Run by ``make loadtest`` (headless, with thresholds that fail the run) and ``make loadtest-ui``
(with Locust's web page). A few models get most of the requests, as in life: model k is asked
with a weight of 1/k. Every answer's body is checked, not only its status.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

from locust import FastHttpUser, between, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests import shapes, thresholds
from loadtests.shapes import Shape
from loadtests.tables import MODELS, Model

__all__ = ["Operator", "Predicting", "Shape", "Trainer"]

WEIGHTS = [1 / rank for rank in range(1, len(MODELS) + 1)]


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--load-shape", default="steady", choices=sorted(shapes.STAGES), help="how the load moves")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the length of the shape's stages")
    parser.add_argument(
        "--max-error-ratio", type=float, default=0.0, help="share of failed requests that fails the run"
    )
    parser.add_argument("--max-job-s", type=float, default=120.0, help="seconds within which a training must succeed")
    parser.add_argument("--max-p99-ms", type=float, default=250.0, help="p99 of POST /predict that fails the run")


@events.test_start.add_listener
def _train_first(environment: Environment, **_rest: Any) -> None:
    """Make sure every model is there before anybody predicts."""
    if not isinstance(environment.runner, WorkerRunner):
        for model in MODELS:
            model.ensure(str(environment.host))


@events.quitting.add_listener
def _judge(environment: Environment, **_rest: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        # The master judges; what a worker has not reported to it yet says nothing.
        environment.process_exit_code = 0
    else:
        thresholds.judge(environment)


class Predicting(FastHttpUser):
    """A client that predicts: mostly single rows, sometimes a hundred."""

    weight = 50
    wait_time = between(0.01, 0.05)

    @task(20)
    def single(self) -> None:
        """One row, of plain cells or of named ones."""
        self._predict(self._model(), 1)

    @task(1)
    def hundred(self) -> None:
        """A hundred rows."""
        self._predict(self._model(), 100)

    def _model(self) -> Model:
        return random.choices(MODELS, WEIGHTS)[0]

    def _predict(self, model: Model, rows: int) -> None:
        body = {"model": model.name, "instances": model.rows(rows), "probabilities": model.classes is not None}
        name = f"POST /predict {model.name} x{rows}"
        with self.client.post("/predict", json=body, name=name, catch_response=True) as answer:
            problem = model.problem(answer.status_code, answer.text, rows)
            if problem:
                answer.failure(problem)


class Trainer(FastHttpUser):
    """A data scientist who trains now and then and waits for the end."""

    fixed_count = 1
    wait_time = between(5, 15)

    @task
    def train(self) -> None:
        """Train once more; the job must succeed in time."""
        model = random.choice(MODELS)
        with self.client.post("/train", json=model.request(), name="POST /train", catch_response=True) as answer:
            if answer.status_code != 202:
                answer.failure(f"{answer.status_code}, not 202")
                return
            job = json.loads(answer.text)["job_id"]
        self._wait(job)

    def _wait(self, job: str) -> None:
        """Ask for the job until it has succeeded; anything else is a failure of the request that shows it."""
        options = self.environment.parsed_options
        assert options is not None
        end = time.monotonic() + options.max_job_s
        ended = False
        while not ended:
            with self.client.get(f"/jobs/{job}", name="GET /jobs/{id}", catch_response=True) as answer:
                status = json.loads(answer.text)["status"] if answer.status_code == 200 else "unknown"
                late = time.monotonic() > end
                if status in ("failed", "cancelled"):
                    answer.failure(f"the job is {status}")
                elif late and status != "succeeded":
                    answer.failure(f"the job is {status} after {options.max_job_s:g} s")
                ended = late or status in ("succeeded", "failed", "cancelled")
            if not ended:
                time.sleep(0.5)


class Operator(FastHttpUser):
    """Somebody who looks at the models and moves aliases."""

    fixed_count = 1
    wait_time = constant(5)

    @task(3)
    def look(self) -> None:
        """The list of models."""
        with self.client.get("/models", name="GET /models", catch_response=True) as answer:
            listed = (
                {entry["model"] for entry in json.loads(answer.text)["models"]} if answer.status_code == 200 else set()
            )
            if not {model.name for model in MODELS} <= listed:
                answer.failure("a model is missing in the list")

    @task(1)
    def promote(self) -> None:
        """Point ``champion`` at the newest version."""
        model = random.choice(MODELS)
        with self.client.get(f"/models/{model.name}", name="GET /models/{m}", catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}, not 200")
                return
            newest = json.loads(answer.text)["versions"][0]["version"]
        address, body = f"/models/{model.name}/aliases/champion", {"version": newest}
        with self.client.put(address, json=body, name="PUT …/aliases/champion", catch_response=True) as answer:
            if answer.status_code != 200 or json.loads(answer.text)["version"] != newest:
                answer.failure(f"{answer.status_code}: the alias is not where it was put")
