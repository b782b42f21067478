import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_store import errors, runtime
from model_store.runtime import onnx_graph, protobuf_scan
from model_store.runtime.onnx_graph import OnnxRuntime
from tests.source_tree import CHECKOUT
from tests.unit.model_store import graphs
from tests.unit.model_store.graphs import no_texts, tensor


def test_a_regression_gives_one_number_per_row() -> None:
    served = OnnxRuntime(graphs.sum_model().SerializeToString())
    output = served.predict(np.array([[1.0, 2.0], [3.0, 4.0]]), no_texts(2), probabilities=True)
    assert output.labels.tolist() == [3.0, 7.0]
    assert output.labels.dtype == np.float64
    assert output.probabilities is None


def test_a_graph_in_memory_does_not_hold_its_file() -> None:
    data = graphs.sum_model().SerializeToString()
    before = sys.getrefcount(data)
    served = OnnxRuntime(data)
    assert sys.getrefcount(data) == before
    assert served.predict(np.array([[1.0, 2.0]]), no_texts(1)).labels.tolist() == [3.0]


def test_a_classification_gives_class_indices_and_probabilities_only_when_asked() -> None:
    served = OnnxRuntime(graphs.larger_column_model().SerializeToString())
    rows = np.array([[0.25, 0.75], [0.5, 0.5]])
    alone = served.predict(rows, no_texts(2))
    both = served.predict(rows, no_texts(2), probabilities=True)
    assert alone.labels.tolist() == both.labels.tolist() == [1, 0]
    assert alone.labels.dtype == np.int64
    assert alone.probabilities is None
    assert both.probabilities is not None
    assert np.array_equal(both.probabilities, rows)


def test_a_classifier_of_texts_alone_is_served() -> None:
    served = OnnxRuntime(graphs.word_model().SerializeToString())
    texts = np.array([["yes"], ["no"], [""]], dtype=object)
    output = served.predict(np.empty((3, 0)), texts, probabilities=True)
    assert output.labels.tolist() == [1, 0, 0]
    assert output.probabilities is None


def test_numbers_are_narrowed_for_a_float32_graph_and_may_become_infinite() -> None:
    served = OnnxRuntime(graphs.sum_model(TensorProto.FLOAT).SerializeToString())
    output = served.predict(np.array([[1e300, 0.0], [0.1, 0.0]]), no_texts(2))
    assert output.labels.tolist() == [np.inf, float(np.float32(0.1))]


def test_the_session_uses_one_thread_that_does_not_spin() -> None:
    served = OnnxRuntime(graphs.sum_model().SerializeToString())
    options = served._session.get_session_options()  # type: ignore[union-attr]
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_rows_of_another_width_are_refused_and_a_closed_version_too() -> None:
    served = OnnxRuntime(graphs.sum_model().SerializeToString())
    with pytest.raises(runtime.CannotPredict):
        served.predict(np.ones((1, 3)), no_texts(1))
    served.close()
    with pytest.raises(runtime.CannotPredict):
        served.predict(np.ones((1, 2)), no_texts(1))


def test_the_size_is_that_of_the_file() -> None:
    data = graphs.sum_model().SerializeToString()
    assert OnnxRuntime(data).size_bytes == len(data)


def test_rows_without_enough_memory_are_no_fault_of_the_rows() -> None:
    """Given a graph that wants 256 TiB for each answer."""
    made = graphs.model(
        [
            helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["numbers", "nothing"], ["value"]),
        ],
        [tensor("numbers", TensorProto.FLOAT, [None, 1])],
        [tensor("value", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.array([2**46]), "huge")],
    )
    with pytest.raises(MemoryError):
        OnnxRuntime(made.SerializeToString()).predict(np.ones((1, 1)), no_texts(1))


def test_a_graph_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "MAX_GRAPH_BYTES", 10)
    with pytest.raises(errors.TooLarge):
        OnnxRuntime(graphs.sum_model().SerializeToString())


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a graph at all", b"\xff" * 40, b"\x0b\x0c"])
def test_what_is_no_graph_is_corrupt(data: bytes) -> None:
    with pytest.raises(errors.Corrupt):
        OnnxRuntime(data)


def test_every_cut_of_a_graph_is_corrupt_or_says_so_while_loading() -> None:
    data = graphs.larger_column_model().SerializeToString()
    for length in range(0, len(data), 7):
        with pytest.raises(errors.Corrupt):
            OnnxRuntime(data[:length])


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("other", TensorProto.DOUBLE, [None, 2]),
        ("texts", TensorProto.DOUBLE, [None, 2]),
        ("numbers", TensorProto.INT64, [None, 2]),
        ("numbers", TensorProto.DOUBLE, [None]),
    ],
)
def test_an_input_that_is_not_ours_is_corrupt(name: str, kind: int, shape: list[Any]) -> None:
    odd = graphs.model(
        [helper.make_node("Identity", [name], ["value"])],
        [tensor(name, kind, shape)],
        [tensor("value", kind, shape)],
    )
    with pytest.raises(errors.Corrupt, match="input"):
        OnnxRuntime(odd.SerializeToString())


def test_outputs_that_are_not_ours_are_corrupt() -> None:
    odd = graphs.model(
        [helper.make_node("Identity", ["numbers"], ["answer"])],
        [tensor("numbers", TensorProto.DOUBLE, [None, 2])],
        [tensor("answer", TensorProto.DOUBLE, [None, 2])],
    )
    with pytest.raises(errors.Corrupt, match="outputs"):
        OnnxRuntime(odd.SerializeToString())


def _outside(name: str = "ones") -> TensorProto:
    outside = numpy_helper.from_array(np.ones((2, 1)), name)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="passwd")
    return outside


def _in_an_initializer() -> onnx.ModelProto:
    made = graphs.sum_model()
    made.graph.initializer[0].CopyFrom(_outside())
    return made


def _in_an_attribute() -> onnx.ModelProto:
    made = graphs.sum_model()
    made.graph.node.append(helper.make_node("Constant", [], ["unused"], value=_outside()))
    return made


def _in_a_list_of_tensors() -> onnx.ModelProto:
    made = graphs.sum_model()
    made.graph.node[0].attribute.append(helper.make_attribute("tensors", [_outside()]))
    return made


def _in_a_branch() -> onnx.ModelProto:
    made = graphs.sum_model()
    branch = helper.make_graph([], "branch", [], [], initializer=[_outside()])
    made.graph.node[0].attribute.append(helper.make_attribute("branch", branch))
    made.graph.node[0].attribute.append(helper.make_attribute("branches", [branch]))
    return made


def _in_a_sparse_tensor() -> onnx.ModelProto:
    made = graphs.sum_model()
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(_outside())
    return made


def _in_a_function() -> onnx.ModelProto:
    made = graphs.sum_model()
    node = helper.make_node("Constant", [], ["y"], value=_outside())
    made.functions.append(helper.make_function("own", "f", [], ["y"], [node], made.opset_import))
    return made


@pytest.mark.parametrize(
    "hide",
    [_in_an_initializer, _in_an_attribute, _in_a_list_of_tensors, _in_a_branch, _in_a_sparse_tensor, _in_a_function],
)
def test_data_outside_of_the_graph_is_refused_wherever_it_hides(hide: Callable[[], onnx.ModelProto]) -> None:
    with pytest.raises(errors.Corrupt, match="outside"):
        OnnxRuntime(hide().SerializeToString())


def test_a_hidden_pointer_is_found_behind_long_runs_of_numbers_and_texts() -> None:
    made = graphs.sum_model()
    node = made.graph.node.add(op_type="Odd")
    node.attribute.append(helper.make_attribute("floats", [0.5] * 10_000))
    node.attribute.append(helper.make_attribute("ints", list(range(-5, 20_000))))
    node.attribute.append(helper.make_attribute("modes", ["BRANCH_LEQ", "LEAF", "x" * 300] * 2_000))
    protobuf_scan.refuse_external_data(made.SerializeToString())
    made.graph.node.append(helper.make_node("Constant", [], ["late"], value=_outside()))
    with pytest.raises(errors.Corrupt, match="outside"):
        protobuf_scan.refuse_external_data(made.SerializeToString())


def test_nesting_without_end_is_refused() -> None:
    inner = helper.make_graph([], "g", [], [])
    for _ in range(10):
        inner = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "g", [], [])
    deep = helper.make_model(inner).SerializeToString()
    with pytest.raises(errors.Corrupt, match="deeply"):
        protobuf_scan.refuse_external_data(deep)


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a\x05ab",  # a field longer than the file
        b"\x08" + b"\xff" * 11,  # a number that does not end
        b"\x0f\x01",  # a wire type that is none
        b"\x09\x01",  # eight bytes of which there is one
        b"\x0d\x01",  # four bytes of which there is one
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(errors.Corrupt):
        protobuf_scan.refuse_external_data(data)


def test_fixed_width_fields_are_stepped_over() -> None:
    protobuf_scan.refuse_external_data(b"\x09" + b"\x01" * 8 + b"\x0d" + b"\x01" * 4 + b"\x08\x01")


def test_serving_graphs_never_imports_scikit_learn() -> None:
    code = (
        "import sys; from tests.unit.model_store import graphs; import numpy as np; before = set(sys.modules);"
        "from model_store.runtime import load, check_samples;"
        "served = load(graphs.artefact('onnx', model_onnx=graphs.sum_model().SerializeToString()));"
        "served.predict(np.ones((1, 2)), graphs.no_texts(1));"
        "print(*[n for n in sys.modules if n.split('.')[0] in ('sklearn', 'pandas', 'skops', 'scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("first", "kept"), [("import onnxruntime", True), ("import model_store.runtime", False)])
def test_onnxruntime_tells_nobody_what_is_loaded(tmp_path: Path, first: str, kept: bool) -> None:
    """It would begin with a database in the user's home; left alone it does, so this test can fail."""
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(graphs.sum_model().SerializeToString())
    code = f"{first}; import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(graph)],
        cwd=CHECKOUT,
        # And nothing else: where tests run for a check, variables of that check switch it off.
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert any("onnxruntime" in path.name for path in tmp_path.rglob("*.db")) is kept
