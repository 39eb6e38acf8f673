"""Which operation of a network's graph gives an output its values: whether they are confidences already.

onnxruntime doesn't tell it, and the onnx library is for those who make networks. The file is a protocol buffer
(onnx.proto, the same numbers since 2017): of its fields the few that matter are read, the weights are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# ModelProto.graph, GraphProto.node; of NodeProto:
_GRAPH, _NODE = 7, 1
_INPUT, _OUTPUT, _OPERATION = 1, 2, 4
# What comes out of these is what goes in, in another shape or type.
_SAME = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
_SAME |= {"Dropout", "QuantizeLinear", "DequantizeLinear"}
# Sums of weighted values: any number may come out.
LINEAR = frozenset({"Gemm", "MatMul", "Conv"})
# Confidences come out, whose sum is 1, or each by itself.
SOFTMAX, SIGMOID = "Softmax", "Sigmoid"
# With these a graph normalises the pixels that it is given.
NORMALISING = frozenset({"Sub", "Div", "Mul", "Add", "BatchNormalization"})
_LONGEST_NAME = 10_000


def output_operation(path: Path, output: str) -> str | None:
    """The name of the operation, None where the file can't be read, or has its graph in another form."""
    nodes = _read(path)
    name = output
    for _ in range(len(nodes)):
        kind, inputs = nodes.get(name, (None, []))
        if kind == "Add":  # a layer's bias, if it is one
            layers = {nodes[wanted][0] for wanted in inputs if wanted in nodes}
            return next(iter(layers & LINEAR), kind)
        if kind not in _SAME or not inputs:
            return kind
        name = inputs[0]
    return None


def input_operation(path: Path, given: str) -> str | None:
    """The name of the first operation on an input, None where the file can't be read."""
    nodes = _read(path)
    name = given
    for _ in range(len(nodes)):
        found = next(((output, kind) for output, (kind, inputs) in nodes.items() if name in inputs), None)
        if found is None or found[1] not in _SAME:
            return None if found is None else found[1]
        name = found[0]
    return None


def _read(path: Path) -> dict[str, tuple[str, list[str]]]:
    """As of `_producers`; empty where the file can't be read."""
    try:
        with path.open("rb") as file:
            return _producers(file, path.stat().st_size)
    except (OSError, ValueError):
        return {}


def _producers(file: BinaryIO, size: int) -> dict[str, tuple[str, list[str]]]:
    """By the name of each value: the operation that it comes from, and what that takes in."""
    found: dict[str, tuple[str, list[str]]] = {}
    for field, end in _fields(file, size):
        for part, part_end in _fields(file, end) if field == _GRAPH else ():
            if part == _NODE:
                node: dict[int, list[str]] = {_INPUT: [], _OUTPUT: [], _OPERATION: []}
                for number, number_end in _fields(file, part_end):
                    if number in node:
                        node[number].append(_text(file, number_end))
                for name in node[_OUTPUT]:
                    found[name] = ("".join(node[_OPERATION]), node[_INPUT])
    return found


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Of a message that begins where the file stands: the numbers of its texts and messages, and where each ends. The
    file stands at the beginning of it, and may be left anywhere.
    """
    at = file.tell()
    while at < end:
        key = _varint(file)
        kind = key & 7
        if kind == 2:
            length = _varint(file)
            at = file.tell() + length
            if at > end:
                raise ValueError("a field is longer than its message")
            yield key >> 3, at
        elif kind == 0:
            _varint(file)
            at = file.tell()
        elif kind in (1, 5):
            at = file.tell() + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"no field of a message is of kind {kind}")
        file.seek(at)


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
    if length > _LONGEST_NAME:
        raise ValueError("a name is too long")
    return file.read(length).decode("utf-8")
