"""The embedding of a network: one of its outputs, or a value inside of its graph, which is then made an output as well.

The file is a protocol buffer (see graph_operations), and what is appended to one is merged into it: a graph with
nothing but one more output is all that has to stand behind the file's bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from framesift.config.errors import nearest
from framesift.models.model import ModelLoadError
from framesift.models.onnx import graph_operations
from framesift.models.onnx.family_match import GraphOutput
from framesift.models.onnx.onnx_settings import OnnxSettings
from framesift.prediction.embedding import make_embedding

# ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1
_MOST_SHOWN = 8


def network_for(settings: OnnxSettings) -> str | bytes:
    """What onnxruntime loads: the file, or its bytes with one more output. Raises ModelLoadError."""
    name = settings.embedding
    if name is None:
        return str(settings.path)
    outputs, inner = graph_operations.value_names(settings.path)
    if name in outputs:
        return str(settings.path)
    if name not in inner:
        meant = nearest(name, [*outputs, *inner])
        shown = ", ".join(outputs[:_MOST_SHOWN]) or "not known: the file can't be read"
        raise ModelLoadError(
            f"model.embedding: {settings.path} computes no value {name!r}"
            + (f"; did you mean {meant!r}?" if meant else ".")
            + f" Its outputs are {shown}; a value inside of its graph can be named as well"
        )
    try:
        network = settings.path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"model.path: {settings.path}: {error.strerror}") from error
    return network + _message(_GRAPH, _message(_OUTPUT, _message(_NAME, name.encode())))


def check_embedding(settings: OnnxSettings, outputs: list[GraphOutput], values: list[Any]) -> GraphOutput | None:
    """The output that is the embedding; None without one.

    outputs, values: for one picture. Raises ModelLoadError if the value can't be an embedding.
    """
    if settings.embedding is None:
        return None
    index = next(i for i, output in enumerate(outputs) if output.name == settings.embedding)
    value = values[index]
    if not isinstance(value, np.ndarray) or value.ndim < 2 or value.shape[0] != 1:
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise ModelLoadError(f"model.embedding: {settings.embedding!r}{shape} is no array of one row for each picture")
    try:
        make_embedding(value[0])
    except ValueError as error:
        raise ModelLoadError(f"model.embedding: {settings.embedding!r}: {error}") from error
    return outputs[index]


def _message(field: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds a message or a text."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
