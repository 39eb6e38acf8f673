"""What a network wants to be given: told by its graph, then by its metadata, then by what is usual in its family; the
configuration may choose where these leave a choice, and is refused where it contradicts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from framesift.models.model import ModelLoadError
from framesift.models.onnx import graph_operations as graph
from framesift.models.onnx.metadata import Metadata
from framesift.models.onnx.onnx_settings import Family, OnnxSettings, Resize
from framesift.models.onnx.preprocessing import Preprocessing

ValueType = Literal["float32", "float16", "uint8"]

_NUMBERS: dict[str, ValueType] = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
# Of ImageNet, which the backbones of RF-DETR were trained on.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class GraphInput:
    """name: of the graph's input. height, width: in pixels. channels_last: (1, h, w, 3), otherwise (1, 3, h, w).
    one_at_a_time: it takes no more than one picture, otherwise any number.
    """

    name: str
    height: int
    width: int
    channels_last: bool
    value_type: ValueType
    single_picture: bool


def read_input(options: OnnxSettings, inputs: list[Any], said: Metadata) -> GraphInput:
    """inputs: as onnxruntime tells them. Raises ModelLoadError that shows them."""
    shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    # A side that is left open has a name, or nothing, in the place of its number.
    shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    batch_and_channels = (shape[0], shape[3 if channels_last else 1]) if len(shape) == 4 else (0, 0)
    one_picture = batch_and_channels[0] in (1, None) and batch_and_channels[1] in (3, None)
    if len(inputs) != 1 or inputs[0].type not in _NUMBERS or not one_picture:
        raise ModelLoadError(
            f"model.path: {options.path} wants {shown}; one picture is given, [1, 3, height, width] or "
            f"[1, height, width, 3] of {', '.join(_NUMBERS)}"
        )
    sides = [side if side and side > 0 else None for side in (shape[1:3] if channels_last else shape[2:])]
    height, width = _size(options, sides, said, shown)
    return GraphInput(inputs[0].name, height, width, channels_last, _NUMBERS[inputs[0].type], shape[0] is not None)


def _size(options: OnnxSettings, sides: list[int | None], said: Metadata, shown: str) -> tuple[int, int]:
    asked = options.input_size
    if asked is not None:
        for side, given in zip(sides, asked, strict=True):
            if side not in (None, given):
                raise ModelLoadError(f"model.input_size: {list(asked)}, but {options.path} wants {shown}")
            if side is None and said.stride is not None and given % said.stride:
                raise ModelLoadError(
                    f"model.input_size: {list(asked)}, but {options.path} says that its stride is {said.stride}: "
                    f"{given} is no multiple of it"
                )
        return asked
    height, width = (side or (said.size[axis] if said.size else None) for axis, side in enumerate(sides))
    if height is None or width is None:
        raise ModelLoadError(f"model.input_size: {options.path} leaves its size open ({shown}): give [height, width]")
    return height, width


def guessed_preprocessing(options: OnnxSettings, family: Family, given: GraphInput, said: Metadata) -> str:
    """What of a classifier's preparation nobody says, "" where all is known. Detectors have customs, classifiers none;
    those of Ultralytics, which name their task, are alike too.
    """
    if family is not Family.CLASSIFIER or said.task is not None or given.value_type == "uint8":
        return ""
    if options.mean is not None and options.std is not None:
        return ""
    inside = graph.input_operation(options.path, given.name) in graph.NORMALISING  # then only its range is open
    keys = ["scale"] if inside else ["scale", "mean", "std"]
    open_ones = [f"model.{key}" for key in keys if getattr(options, key) is None]
    return f"{', '.join(open_ones)}: left open by the graph and its metadata, and guessed" if open_ones else ""


def preprocessing_for(options: OnnxSettings, family: Family, given: GraphInput) -> Preprocessing:
    """How pictures are prepared for a network of this family. Raises ModelLoadError."""
    if given.value_type == "uint8":
        for key in ("scale", "mean", "std"):
            if getattr(options, key) is not None:
                raise ModelLoadError(f"model.{key}: {options.path} takes the pixels as they are (uint8)")
    plain = family is Family.YOLOX  # trained on what OpenCV reads, unscaled, with the bars to the right and below
    usual_resize, scale, mean, std = Resize.LETTERBOX, 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if plain:
        scale = 1.0
    elif family is Family.CLASSIFIER:
        usual_resize = Resize.CROP
    elif family is Family.RFDETR:
        usual_resize, mean, std = Resize.STRETCH, _IMAGENET_MEAN, _IMAGENET_STD
    elif family is Family.SSD:
        # TensorFlow's graphs scale the pixels themselves, those of its devices' models want them from -1 to 1.
        usual_resize, scale = Resize.STRETCH, 1.0
        if "normalized" in given.name:
            scale, mean = 1 / 127.5, (1.0, 1.0, 1.0)
    return Preprocessing(
        height=given.height,
        width=given.width,
        resize=options.resize or usual_resize,
        centred=not plain,
        rgb=options.colour == "rgb" if options.colour else not plain,
        scale=options.scale or scale,
        mean=options.mean or mean,
        std=options.std or std,
        channels_last=given.channels_last,
        value_type=given.value_type,
    )
