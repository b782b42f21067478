"""The trainer as a process: its probe, its signals, its death, and the broker's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.native.broker import Ports
from model_store.volume import Volume
from tests.integration.trainer.conftest import CHILD
from tests.integration.trainer.peers import WAIT_S, Worker, alive, champion
from tests.rabbit import Rabbit, wait_until
from trainer.child_process import ChildProcess
from trainer.service import TrainerService
from wire import settings

Start = Callable[..., TrainerService]

RUN = """
import sys
from trainer import __main__, service
service.TrainerService.__init__.__defaults__ = (sys.argv[1], service.PROFILE_COMMAND, service.TABLE_COMMAND)
sys.exit(__main__.main())
"""


@contextmanager
def trainer_process(config: settings.Settings, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m trainer`` but for the child it starts."""
    environment = {
        **os.environ,
        "WARREN_BROKER__HOST": config.broker.host,
        "WARREN_BROKER__PORT": str(config.broker.port),
        "WARREN_BROKER__VHOST": config.broker.vhost,
        "WARREN_PROCESS__METRICS_PORT": str(port),
        "WARREN_PROCESS__DRAIN_S": "1",
        "WARREN_PREDICT__PRESENCE_S": "0.1",
        "WARREN_TRAIN__ALIVE_S": "0.4",
        "WARREN_PATHS__MODELS": str(config.paths.models),
        "WARREN_PATHS__DATASETS": str(config.paths.datasets),
        "WARREN_PATHS__SIGNING_KEY_FILE": str(config.paths.signing_key_file),
        "WARREN_PATHS__VERIFY_KEY_FILE": str(config.paths.verify_key_file),
    }
    process = subprocess.Popen([sys.executable, "-c", RUN, CHILD], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def port() -> int:
    return Ports.free().amqp


def test_a_killed_trainer_leaves_no_child_and_the_next_one_does_the_job(
    config: settings.Settings, worker: Worker, volume: Volume, tmp_path: Path, port: int
) -> None:
    request = worker.request(wait_for=str(tmp_path / "go"))
    with trainer_process(config, port) as process, worker.training(request) as training:
        child = int(training.until("reading").message)
        assert alive(child)
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: not alive(child), "the child died with its trainer")

    (tmp_path / "go").touch()
    with trainer_process(config, port):
        assert worker.train(job_id=request.job_id).version == 1
        wait_until(lambda: list(volume.tmp("iris").iterdir()) == [], "the draft of the dead one is cleared")


def test_a_trainer_stops_within_its_drain_and_says_when_it_is_ready(
    config: settings.Settings, worker: Worker, volume: Volume, port: int
) -> None:
    with trainer_process(config, port) as process:
        wait_until(lambda: ready(port), "it is ready", WAIT_S)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert "warren_trainings_total" in metrics
        worker.train()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0

    assert champion(volume) == 1


def test_a_trainer_without_keys_ends_with_a_sentence(config: settings.Settings, port: int) -> None:
    config.paths.signing_key_file.unlink()

    with trainer_process(config, port) as process:
        assert process.wait(WAIT_S) == 1


def test_a_trainer_imports_nothing_of_what_its_children_do() -> None:
    code = (
        "import sys, trainer.service, trainer.__main__\n"
        "heavy = {'sklearn', 'pandas', 'numpy', 'scipy', 'onnx', 'onnxruntime', 'skl2onnx', 'skops', 'pyarrow'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert printed.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["models", "datasets"])
def test_a_trainer_whose_folder_is_gone_is_not_ready(
    trainer: TrainerService, config: settings.Settings, name: str
) -> None:
    assert trainer.lacking() == {}
    folder: Path = getattr(config.paths, name)

    folder.rename(folder.with_name("away"))

    wait_until(lambda: set(trainer.lacking()) == {name}, "it says what it lacks")


def test_a_training_outlives_a_lost_connection_and_its_job_is_answered_when_asked_again(
    trainer: TrainerService, worker: Worker, rabbitmq: Rabbit, broker: settings.Broker, tmp_path: Path, volume: Volume
) -> None:
    request = worker.request(wait_for=str(tmp_path / "go"))
    with worker.training(request) as training:
        training.until("reading")
        rabbitmq.close_connections(broker.vhost, "trainer.trainer")
        (tmp_path / "go").touch()

    wait_until(lambda: volume.versions("iris") == [1], "it is published all the same", WAIT_S)
    assert trainer.wait_ready(WAIT_S)
    done = worker.train(job_id=request.job_id)
    assert (done.version, done.promoted) == (1, True)
    assert volume.versions("iris") == [1]


def test_a_trainer_is_not_ready_while_the_broker_is_away(trainer: TrainerService, rabbitmq: Rabbit) -> None:
    with rabbitmq.stopped():
        wait_until(lambda: trainer.lacking().get("broker"), "it says so")
    wait_until(lambda: trainer.lacking() == {}, "it is back", WAIT_S)


def test_a_child_may_not_take_more_memory_than_it_is_given() -> None:
    with ChildProcess((sys.executable, "-c", "x = bytearray(1 << 30)"), memory_bytes=512 * 1024**2) as child:
        wait_until(lambda: child.ended, "it ended")
        assert child.end() == 1
    assert "MemoryError" in child.error_tail


def test_a_child_is_the_first_to_go_when_the_machine_is_full_and_the_last_in_line_for_the_processor() -> None:
    code = "import os; print(os.nice(0), open('/proc/self/oom_score_adj').read().strip(), flush=True)"
    with ChildProcess((sys.executable, "-c", code)) as child:
        line = child.newest_line(WAIT_S)

    assert line is not None
    assert [int(word) for word in line.split()] == [min(19, os.nice(0) + 10), 500]


def test_a_child_whose_parent_is_another_does_not_run() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "trainer.leash", "1", "0", sys.executable, "-c", "print('ran')"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (1, b"")


def test_only_the_newest_line_of_a_child_is_given() -> None:
    code = "import time; print('one'); print('two', flush=True); time.sleep(300)"
    with ChildProcess((sys.executable, "-c", code)) as child:
        lines = iter(lambda: child.newest_line(WAIT_S), None)
        while next(lines) != b"two\n":
            pass
        assert child.newest_line(0) is None
        assert not child.ended
        assert child.exit_code is None
    assert child.exit_code == -signal.SIGKILL
    assert child.end() == -signal.SIGKILL
