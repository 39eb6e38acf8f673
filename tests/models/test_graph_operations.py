"""Which operation gives an output its values is read from the file itself, whatever lies between the two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from framesift.models.onnx.graph_operations import output_operation


def written(path: Path, *nodes: onnx.NodeProto, weights: int = 0) -> Path:
    """A network of these nodes; the last one's first output is called `out`."""
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    gone = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.ones(max(weights, 1), np.float32), "w")
    network = helper.make_model(helper.make_graph(nodes, "g", [given], [gone], [weight]), ir_version=9)
    onnx.save(network, str(path))
    return path


LAST = [["Softmax"], ["Sigmoid"], ["Gemm"], ["MatMul"], ["Conv"], ["Relu"], ["If"]]
BETWEEN = [["Identity"], ["Reshape", "Cast"], ["Flatten", "Squeeze", "Unsqueeze", "Transpose"]]


@pytest.mark.parametrize("between", [[], *BETWEEN, ["QuantizeLinear", "DequantizeLinear"], ["Dropout"]])
@pytest.mark.parametrize("last", LAST)
def test_operations_that_only_reshape_are_skipped(tmp_path: Path, last: list[str], between: list[str]) -> None:
    names = ["x", *(f"v{i}" for i in range(len(between))), "out"]
    kinds = [*last, *between]
    nodes = [helper.make_node(kind, [a, "w"], [b]) for kind, a, b in zip(kinds, names[:-1], names[1:], strict=True)]
    assert output_operation(written(tmp_path / "n.onnx", *nodes), "out") == last[0]


def test_a_bias_belongs_to_its_layer_and_any_other_sum_is_a_sum(tmp_path: Path) -> None:
    layer, bias = helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["w", "y"], ["out"])
    assert output_operation(written(tmp_path / "n.onnx", layer, bias), "out") == "MatMul"
    other = helper.make_node("Relu", ["x"], ["y"])
    assert output_operation(written(tmp_path / "n.onnx", other, bias), "out") == "Add"


def test_weights_are_passed_over_and_each_output_has_its_own_operation(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Gemm", ["x", "w"], ["out"])]
    path = written(tmp_path / "n.onnx", *nodes, weights=1_000_000)
    assert (output_operation(path, "a"), output_operation(path, "out")) == ("Sigmoid", "Gemm")
    assert output_operation(path, "x") is output_operation(path, "nowhere") is None


def test_a_graph_that_runs_in_circles_has_no_last_operation(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["out"], ["a"]), helper.make_node("Identity", ["a"], ["out"])]
    assert output_operation(written(tmp_path / "n.onnx", *nodes), "out") is None


def test_a_truncated_or_foreign_file_gives_no_wrong_operation(tmp_path: Path) -> None:
    whole = written(tmp_path / "n.onnx", helper.make_node("Softmax", ["x"], ["out"])).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "n.onnx").write_bytes(whole[:length])
        assert output_operation(tmp_path / "n.onnx", "out") in (None, "Softmax")
    assert output_operation(tmp_path / "gone.onnx", "out") is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "n.onnx"
    path.write_bytes(content)
    assert output_operation(path, "out") in (None, "")
