"""What a network expects as input, and how pictures are prepared for it.

The sources are, in this order: its graph, its metadata, and the custom of its family. The settings may choose what
these leave open; a setting that contradicts them is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
# What some networks want beside the picture.
_BOX_SIZE = "orig_target_sizes"
_OTHERS = (_BOX_SIZE, "pixel_mask")
_NUMBERS = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
    "tensor(bool)": np.bool_,
}
_BATCHES = range(1, 65)
# Mean and deviation of ImageNet, on which the backbones of RF-DETR and DETR were trained.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class GraphInput:
    """The input of a network.

    name: in the graph. height, width: in pixels. channels_last: shape (1, h, w, 3), otherwise (1, 3, h, w).
    fixed_batch: how many pictures it takes at once, None for any number. has_batch: it has that side; without, it takes
    one picture. others: what it wants beside the picture, the
    same for each: shape (1, ...), by name.
    """

    name: str
    height: int
    width: int
    channels_last: bool
    value_type: ValueType
    fixed_batch: int | None
    has_batch: bool = True
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def read_input(settings: OnnxSettings, inputs: list[Any], metadata: Metadata) -> GraphInput:
    """Reads the input. inputs: as onnxruntime returns them. Raises ModelLoadError, which shows them."""
    inputs_text = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    picture = next((given for given in inputs if given.name not in _OTHERS), inputs[0])
    others = [given for given in inputs if given is not picture]
    # A side that is left open has a name or nothing instead of a number.
    shape = [side if isinstance(side, int) else None for side in picture.shape]
    has_batch = len(shape) != 3
    if not has_batch:
        shape = [1, *shape]
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    batch_and_channels = (shape[0], shape[3 if channels_last else 1]) if len(shape) == 4 else (0, 0)
    takes_pictures = batch_and_channels[0] in (None, *_BATCHES) and batch_and_channels[1] in (3, None)
    are_known = all(given.name in _OTHERS and given.type in _NUMBERS for given in others)
    if not are_known or picture.type not in _VALUE_TYPES or not takes_pictures:
        raise ModelLoadError(
            f"model.path: {settings.path} wants {inputs_text}; one picture is given, [1, 3, height, width] or "
            f"[1, height, width, 3], with or without the 1, of {', '.join(_VALUE_TYPES)}, and nothing else but "
            f"{' and '.join(_OTHERS)}"
        )
    sides = [side if side and side > 0 else None for side in (shape[1:3] if channels_last else shape[2:])]
    height, width = _size(settings, sides, metadata, inputs_text)
    return GraphInput(
        picture.name,
        height,
        width,
        channels_last,
        _VALUE_TYPES[picture.type],
        shape[0],
        has_batch,
        {given.name: _other_input(given, height, width) for given in others},
    )


def _other_input(given: Any, height: int, width: int) -> NDArray[Any]:
    """What a network of transformers wants beside the picture: the size for its boxes, or which pixels are no bars."""
    number = _NUMBERS[given.type]
    if given.name == _BOX_SIZE:
        return np.array([[width, height]], number)
    sides = [side if isinstance(side, int) else own for side, own in zip(given.shape[1:], (height, width), strict=True)]
    return np.ones((1, *sides), number)


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


def preprocessing_for(
    settings: OnnxSettings, family: Family, graph_input: GraphInput, smooths: bool = False
) -> Preprocessing:
    """How pictures are prepared for a network of this family. smooths: as of Preprocessing. Raises ModelLoadError."""
    if graph_input.value_type == "uint8":
        for key in ("scale", "mean", "std"):
            if getattr(settings, key) is not None:
                raise ModelLoadError(f"model.{key}: {settings.path} takes the pixels as they are (uint8)")
    centred = (
        family not in (Family.YOLOX, Family.TORCHVISION) if settings.bars is None else settings.bars == "both_sides"
    )
    is_yolox = family is Family.YOLOX  # trained on BGR pixels, unscaled, with bars to the right and below
    default_resize, scale, mean, std = Resize.LETTERBOX, 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if is_yolox:
        scale = 1.0
    elif family is Family.CLASSIFIER:
        default_resize = Resize.CROP
    elif family is Family.RTDETR:
        default_resize = Resize.STRETCH
    elif family in (Family.RFDETR, Family.DETR):
        default_resize, mean, std = Resize.STRETCH, _IMAGENET_MEAN, _IMAGENET_STD
    elif family is Family.SSD:
        # TensorFlow's graphs scale the pixels themselves; its models for devices expect -1 to 1.
        default_resize, scale = Resize.STRETCH, 1.0
        if "normalized" in graph_input.name:
            scale, mean = 1 / 127.5, (1.0, 1.0, 1.0)
    resize = settings.resize or default_resize
    if settings.bars is not None and resize is not Resize.LETTERBOX:
        raise ModelLoadError(f"model.bars: family {family} has none unless resize: letterbox is set; it uses {resize}")
    return Preprocessing(
        height=graph_input.height,
        width=graph_input.width,
        resize=resize,
        centred=centred,
        rounds_down=is_yolox,
        smooths=smooths,
        rounds=family is not Family.RFDETR,
        rgb=settings.colour == "rgb" if settings.colour else not is_yolox,
        scale=settings.scale or scale,
        mean=settings.mean or mean,
        std=settings.std or std,
        channels_last=graph_input.channels_last,
        value_type=graph_input.value_type,
    )
