"""What a network expects as input, and how pictures are prepared for it.

The sources are, in this order: its graph, its metadata, and the custom of its family. The settings may choose what
these leave open; a setting that contradicts them is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from framesift.models.model import ModelLoadError
from framesift.models.onnx import graph_operations
from framesift.models.onnx.metadata import Metadata
from framesift.models.onnx.onnx_settings import Family, OnnxSettings, Resize
from framesift.models.onnx.preprocessing import Preprocessing

ValueType = Literal["float32", "float16", "uint8"]

_VALUE_TYPES: dict[str, ValueType] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
# Mean and deviation of ImageNet, on which the backbones of RF-DETR were trained.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class GraphInput:
    """The input of a network.

    name: in the graph. height, width: in pixels. channels_last: shape (1, h, w, 3), otherwise (1, 3, h, w).
    single_picture: it takes exactly one picture, otherwise any number.
    """

    name: str
    height: int
    width: int
    channels_last: bool
    value_type: ValueType
    single_picture: bool


def read_input(settings: OnnxSettings, inputs: list[Any], metadata: Metadata) -> GraphInput:
    """Reads the input. inputs: as onnxruntime returns them. Raises ModelLoadError, which shows them."""
    inputs_text = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    # A side that is left open has a name or nothing instead of a number.
    shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    batch_and_channels = (shape[0], shape[3 if channels_last else 1]) if len(shape) == 4 else (0, 0)
    takes_one_picture = batch_and_channels[0] in (1, None) and batch_and_channels[1] in (3, None)
    if len(inputs) != 1 or inputs[0].type not in _VALUE_TYPES or not takes_one_picture:
        raise ModelLoadError(
            f"model.path: {settings.path} wants {inputs_text}; one picture is given, [1, 3, height, width] or "
            f"[1, height, width, 3] of {', '.join(_VALUE_TYPES)}"
        )
    sides = [side if side and side > 0 else None for side in (shape[1:3] if channels_last else shape[2:])]
    height, width = _size(settings, sides, metadata, inputs_text)
    return GraphInput(inputs[0].name, height, width, channels_last, _VALUE_TYPES[inputs[0].type], shape[0] is not None)


def _size(settings: OnnxSettings, sides: list[int | None], metadata: Metadata, inputs_text: str) -> tuple[int, int]:
    requested = settings.input_size
    if requested is not None:
        for side, wanted in zip(sides, requested, strict=True):
            if side not in (None, wanted):
                raise ModelLoadError(f"model.input_size: {list(requested)}, but {settings.path} wants {inputs_text}")
            if side is None and metadata.stride is not None and wanted % metadata.stride:
                raise ModelLoadError(
                    f"model.input_size: {list(requested)}, but {settings.path} says that its stride is "
                    f"{metadata.stride}: {wanted} is not a multiple of it"
                )
        return requested
    height, width = (side or (metadata.size[axis] if metadata.size else None) for axis, side in enumerate(sides))
    if height is None or width is None:
        raise ModelLoadError(
            f"model.input_size: {settings.path} leaves its size open ({inputs_text}): give [height, width]"
        )
    return height, width


def guessed_preprocessing(settings: OnnxSettings, family: Family, graph_input: GraphInput, metadata: Metadata) -> str:
    """Which parts of a classifier's preprocessing are unknown and guessed, as a text; "" if all is known.

    Detectors of a family all expect the same; classifiers do not, except those of Ultralytics, whose metadata have a
    task.
    """
    if family is not Family.CLASSIFIER or metadata.task is not None or graph_input.value_type == "uint8":
        return ""
    if settings.mean is not None and settings.std is not None:
        return ""
    # A graph that normalises its input leaves only the range of the pixels open.
    is_normalised = graph_operations.input_operation(settings.path, graph_input.name) in graph_operations.NORMALISING
    keys = ["scale"] if is_normalised else ["scale", "mean", "std"]
    open_keys = [f"model.{key}" for key in keys if getattr(settings, key) is None]
    return f"{', '.join(open_keys)}: left open by the graph and its metadata, and guessed" if open_keys else ""


def preprocessing_for(settings: OnnxSettings, family: Family, graph_input: GraphInput) -> Preprocessing:
    """How pictures are prepared for a network of this family. Raises ModelLoadError."""
    if graph_input.value_type == "uint8":
        for key in ("scale", "mean", "std"):
            if getattr(settings, key) is not None:
                raise ModelLoadError(f"model.{key}: {settings.path} takes the pixels as they are (uint8)")
    is_yolox = family is Family.YOLOX  # trained on BGR pixels, unscaled, with bars to the right and below
    default_resize, scale, mean, std = Resize.LETTERBOX, 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if is_yolox:
        scale = 1.0
    elif family is Family.CLASSIFIER:
        default_resize = Resize.CROP
    elif family is Family.RFDETR:
        default_resize, mean, std = Resize.STRETCH, _IMAGENET_MEAN, _IMAGENET_STD
    elif family is Family.SSD:
        # TensorFlow's graphs scale the pixels themselves; its models for devices expect -1 to 1.
        default_resize, scale = Resize.STRETCH, 1.0
        if "normalized" in graph_input.name:
            scale, mean = 1 / 127.5, (1.0, 1.0, 1.0)
    return Preprocessing(
        height=graph_input.height,
        width=graph_input.width,
        resize=settings.resize or default_resize,
        centred=not is_yolox,
        rgb=settings.colour == "rgb" if settings.colour else not is_yolox,
        scale=settings.scale or scale,
        mean=settings.mean or mean,
        std=settings.std or std,
        channels_last=graph_input.channels_last,
        value_type=graph_input.value_type,
    )
