"""The child as the trainer service starts it: a process, its progress lines, its result, its limits."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest

from tests.unit.trainer.training import Bench, numbers, request
from trainer import child, export, fit, table_files
from trainer.progress import Progress, silent
from trainer.refusals import Warned, failed, refusing
from trainer.spec import ChildProgress, ChildResult, ChildSpec
from wire import errors, messages

MIB = 1024 * 1024


def run(draft: Path, spec: ChildSpec) -> tuple[list[ChildProgress], ChildResult, str]:
    spec.write(draft)
    code = "import sys; from trainer import child; sys.exit(child.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(draft)]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=100)
    lines = [msgspec.json.decode(line, type=ChildProgress) for line in ran.stdout.splitlines()]
    return lines, ChildResult.read(draft), ran.stderr.decode()


def test_a_sample_set_is_trained_with_progress_in_lines_that_rise(tmp_path: Path) -> None:
    search = messages.Search(space={"max_depth": [1, 2, 3]})
    asked = request(
        "DecisionTreeClassifier", target="target", dataset=messages.DatasetRef(sample="iris"), search=search
    )
    lines, result, _ = run(tmp_path, ChildSpec(request=asked, kind="sample", memory_bytes=8192 * MIB))
    fractions = [line.fraction for line in lines]
    assert fractions == sorted(fractions)
    assert len({line.fraction for line in lines if line.stage == "choosing"}) >= 9
    assert {line.stage for line in lines} >= {"reading", "choosing", "fitting", "judging", "compiling", "writing"}
    assert result.error is None
    assert result.trained is not None
    assert result.trained.dataset["sample"] == "iris"
    assert sorted(result.trained.files) == sorted(
        path.name for path in tmp_path.iterdir() if path.name not in ("job.json", "result.json")
    )
    notebook = joblib.load(tmp_path / export.NOTEBOOK_FILE)
    rows = table_files.sample_table("iris").frame.drop(columns="target").to_numpy()
    answers = [notebook["classes"][index] for index in notebook["pipeline"].predict(rows)]
    assert set(answers) == {"setosa", "versicolor", "virginica"}
    assert notebook["schema"] == result.trained.features


def test_a_training_over_its_memory_ends_with_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    values = np.random.default_rng(0).normal(size=(40_000, 2))
    np.savetxt(data, values, delimiter=",", header="a,y", comments="", fmt="%.4f")
    spec = ChildSpec(
        request=request("GaussianProcessRegressor"), kind="csv", dataset_path=str(data), memory_bytes=4096 * MIB
    )
    _, result, _ = run(tmp_path, spec)
    assert result.error is not None
    assert result.error.code == "training_failed"
    assert "more memory" in result.error.message
    assert "fewer rows" in result.error.hint


def test_what_a_library_prints_does_not_mix_with_the_progress(tmp_path: Path) -> None:
    code = "from trainer import child; emit = child._own_output();print('noise'); emit(child.ChildProgress(0.5, 'x'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert msgspec.json.decode(ran.stdout, type=ChildProgress).fraction == 0.5
    assert b"noise" in ran.stderr


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (errors.TrainingFailed("no"), "training_failed"),
        (errors.BadInput("a bad table"), "training_failed"),
        (errors.TooLarge("too large"), "training_failed"),
        (errors.DatasetNotFound(), "dataset_not_found"),
        (MemoryError(), "training_failed"),
        (OSError(errno.ENOSPC, "full"), "storage_full"),
        (OSError(errno.EIO, "broken"), "internal_error"),
        (KeyError("a defect"), "internal_error"),
    ],
)
def test_every_end_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: str) -> None:
    def fails(*_: object) -> None:
        raise raised

    monkeypatch.setattr(fit, "fit", fails)
    asked = request(dataset=messages.DatasetRef(sample="iris"), target="target")
    result = child.run(ChildSpec(request=asked, kind="sample"), tmp_path, silent())
    assert result.error is not None
    assert result.error.code == code
    assert result.trained is None


def test_a_dataset_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    spec = ChildSpec(request=request(), kind="csv", dataset_path=str(tmp_path / "gone.csv"))
    result = child.run(spec, tmp_path, silent())
    assert result.error is not None
    assert result.error.code == "dataset_not_found"


def test_an_estimator_without_a_graph_is_stored_as_skops(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    data = tmp_path / "data.csv"
    numbers(120).frame.to_csv(data, index=False)
    result, draft = bench.train(request("NearestCentroid"), data)
    assert result.trained is not None
    assert result.trained.runtime == "skops"
    assert (draft / "model.skops").exists()


def test_a_library_s_failure_keeps_its_last_sentence() -> None:
    nested = ValueError("All the 2 fits failed.\nTraceback\nValueError: first\nmore\nValueError: the real reason\n")
    assert failed("SVC", nested).message == "SVC can't be trained on this table: the real reason"
    assert failed("SVC", RuntimeError()).message.endswith("RuntimeError")
    with pytest.raises(OSError, match="disk"), refusing("SVC"):
        raise OSError("disk")


def test_warnings_are_counted_and_bounded() -> None:
    import warnings

    warned = Warned()
    with warned.collecting():
        for number in range(40):
            warnings.warn("again", UserWarning, stacklevel=1)
            warnings.warn(f"number {number}", RuntimeWarning, stacklevel=1)
            warnings.warn("advice", FutureWarning, stacklevel=1)
    assert warned.sentences()[0] == "UserWarning: again (40 times)"
    assert len(warned.sentences()) == 20


def test_progress_never_falls() -> None:
    seen: list[ChildProgress] = []
    progress = Progress(seen.append)
    progress.stage("judging")
    progress.step(1, 2)
    progress.stage("preparing")
    progress.step(5, 0)
    assert [line.fraction for line in seen] == [0.7, 0.75, 0.75, 0.75]


def test_the_process_s_own_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    limits: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: limits.append((kind, pair)))
    ChildSpec(request=request(), kind="csv", dataset_path=str(tmp_path / "gone"), memory_bytes=7).write(tmp_path)
    kept = os.dup(1)
    try:
        assert child.main([str(tmp_path)]) == 0
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert ChildResult.read(tmp_path).error is not None
    assert limits == [(resource.RLIMIT_AS, (7, 7))]
    assert capfd.readouterr().out == '{"fraction":0.0,"stage":"reading","message":""}\n'
