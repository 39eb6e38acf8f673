"""Which operations of a network's graph produce an output and read an input.

So it is known whether an output holds confidences already. onnxruntime does not tell, and the onnx library is large.
The file is a protocol buffer (onnx.proto, with the same field numbers since 2017): only the few fields that matter are
read, the weights are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# ModelProto.graph; GraphProto.node, .output; ValueInfoProto.name; of NodeProto:
_GRAPH, _NODE, _GRAPH_OUTPUT, _NAME = 7, 1, 12, 1
_INPUT, _OUTPUT, _OPERATION = 1, 2, 4
# Operations that only change the shape or type of their input.
_PASS_THROUGH = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
_PASS_THROUGH |= {"Dropout", "QuantizeLinear", "DequantizeLinear"}
# Weighted sums: their results may be any numbers.
LINEAR = frozenset({"Gemm", "MatMul", "Conv"})
# Their results are confidences: with a sum of 1, or each by itself.
SOFTMAX, SIGMOID = "Softmax", "Sigmoid"
# With these operations a graph normalises its input pixels.
NORMALISING = frozenset({"Sub", "Div", "Mul", "Add", "BatchNormalization"})
_MAX_NAME_BYTES = 10_000


def output_operation(path: Path, output: str) -> str | None:
    """The name of the operation that computes an output; None if the file can't be read or has another structure."""
    nodes = _read(path)
    name = output
    for _ in range(len(nodes)):
        kind, inputs = nodes.get(name, (None, []))
        if kind == "Add":  # probably the bias of a layer
            layers = {nodes[input_name][0] for input_name in inputs if input_name in nodes}
            return next(iter(layers & LINEAR), kind)
        if kind not in _PASS_THROUGH or not inputs:
            return kind
        name = inputs[0]
    return None


def input_operation(path: Path, input_name: str) -> str | None:
    """The name of the first operation on an input; None if the file can't be read."""
    nodes = _read(path)
    name = input_name
    for _ in range(len(nodes)):
        consumer = next(((output, kind) for output, (kind, inputs) in nodes.items() if name in inputs), None)
        if consumer is None or consumer[1] not in _PASS_THROUGH:
            return None if consumer is None else consumer[1]
        name = consumer[0]
    return None


def value_names(path: Path) -> tuple[list[str], list[str]]:
    """The names of the network's outputs, and of all values that its graph computes; empty if it can't be read."""
    try:
        with path.open("rb") as file:
            return _output_names(file, path.stat().st_size), list(_read(path))
    except (OSError, ValueError):
        return [], []


def _output_names(file: BinaryIO, size: int) -> list[str]:
    return [
        _text(file, name_end)
        for field, end in _fields(file, size)
        if field == _GRAPH
        for part, part_end in _fields(file, end)
        if part == _GRAPH_OUTPUT
        for number, name_end in _fields(file, part_end)
        if number == _NAME
    ]


def _read(path: Path) -> dict[str, tuple[str, list[str]]]:
    """The result of `_producers`; empty if the file can't be read."""
    try:
        with path.open("rb") as file:
            return _producers(file, path.stat().st_size)
    except (OSError, ValueError):
        return {}


def _producers(file: BinaryIO, size: int) -> dict[str, tuple[str, list[str]]]:
    """For each value, by name: the operation that computes it, and the names of its inputs."""
    producers: dict[str, tuple[str, list[str]]] = {}
    for field, end in _fields(file, size):
        for node_field, node_end in _fields(file, end) if field == _GRAPH else ():
            if node_field == _NODE:
                node: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OPERATION: []}
                for number, number_end in _fields(file, node_end):
                    if number in node:
                        node[number].append(_text(file, number_end))
                for name in node[_OUTPUT]:
                    producers[name] = ("".join(node[_OPERATION]), node[_INPUT])
    return producers


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """The texts and messages in a message that starts at the file's position: their field numbers, and where each ends.

    The file is positioned at the start of each, and the caller may leave it anywhere.
    """
    position = file.tell()
    while position < end:
        key = _varint(file)
        kind = key & 7
        if kind == 2:
            length = _varint(file)
            position = file.tell() + length
            if position > end:
                raise ValueError("a field is longer than its message")
            yield key >> 3, position
        elif kind == 0:
            _varint(file)
            position = file.tell()
        elif kind in (1, 5):
            position = file.tell() + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"a message has no fields of kind {kind}")
        file.seek(position)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number has no end")


def _text(file: BinaryIO, end: int) -> str:
    length = end - file.tell()
    if length > _MAX_NAME_BYTES:
        raise ValueError("a name is too long")
    return file.read(length).decode("utf-8")
