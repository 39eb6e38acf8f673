"""Settings of the onnx model."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from framesift.config.schema import Fraction, StrictModel, Tag
from framesift.prediction.prediction import MAX_CLASS_NAME_LENGTH


class Family(str, Enum):
    """How a model's outputs are read. N: candidates, C: classes, M: mask prototypes, K: keypoints.

    yolov8 (also v9, v11, v12): (1, 4 + C, N). yolov5 (also v7): (1, N, 5 + C). end2end (v10, 26, and exports with their
    own suppression): (1, N, 6), corners, confidence, class. yolox: (1, N, 5 + C), cells that must still be placed on
    their grid. classifier: (1, C). yolov8-seg: (1, 4 + C + M, N) and (1, M, h, w); end2end-seg: (1, N, 6 + M) and the
    same. yolov8-pose: (1, 4 + C + 3 K, N); end2end-pose: (1, N, 6 + 3 K). yolov8-obb: (1, 4 + C + 1, N), centre, size,
    classes, angle; end2end-obb: (1, N, 7), centre, size, confidence, class, angle. rfdetr: `dets` (1, N, 4), fractions
    of the picture, `labels` (1, N, C + 1), logits, and `masks` (1, N, h, w) if it segments; its keypoints are not read.
    ssd: boxes (1, N, 4), fractions of the picture: top, left, bottom, right; then classes, scores, and how many of them
    count. rtdetr: (1, N, 6), centre and size as fractions, confidence, class; or (1, N, 4 + C); or `logits` (1, N, C)
    and `pred_boxes` (1, N, 4); or `labels`, `boxes` and `scores`. detr: `logits` (1, N, C + 1) and `pred_boxes`
    (1, N, 4). yolov7-end2end: (N, 7), picture, corners, class, confidence.
    """

    AUTO = "auto"
    YOLOV8 = "yolov8"
    YOLOV5 = "yolov5"
    END2END = "end2end"
    YOLOX = "yolox"
    CLASSIFIER = "classifier"
    YOLOV8_SEG = "yolov8-seg"
    END2END_SEG = "end2end-seg"
    YOLOV8_POSE = "yolov8-pose"
    END2END_POSE = "end2end-pose"
    YOLOV8_OBB = "yolov8-obb"
    END2END_OBB = "end2end-obb"
    RFDETR = "rfdetr"
    SSD = "ssd"
    RTDETR = "rtdetr"
    DETR = "detr"
    YOLOV7_END2END = "yolov7-end2end"

    def __str__(self) -> str:
        return self.value


class Resize(str, Enum):
    """How a picture is resized to the model's input."""

    LETTERBOX = "letterbox"  # keeps the aspect ratio, adds grey bars
    STRETCH = "stretch"  # changes the aspect ratio
    CROP = "crop"  # keeps the aspect ratio, uses the middle part

    def __str__(self) -> str:
        return self.value


# Their networks remove overlapping boxes themselves.
END_TO_END_FAMILIES = frozenset(
    {
        *(Family.END2END, Family.END2END_SEG, Family.END2END_POSE, Family.END2END_OBB, Family.YOLOV7_END2END),
        *(Family.RFDETR, Family.SSD, Family.RTDETR, Family.DETR),
    }
)
KEYPOINT_FAMILIES = frozenset({Family.YOLOV8_POSE, Family.END2END_POSE})
ROTATED_FAMILIES = frozenset({Family.YOLOV8_OBB, Family.END2END_OBB})

Side = Annotated[int, Field(ge=8, le=8192)]
PerChannel = tuple[float, float, float]
Divisor = Annotated[float, Field(gt=0.0)]
ClassName = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_NAME_LENGTH)]


class OnnxSettings(StrictModel):
    """Settings of a network in an ONNX file. Null: taken from the model's metadata, or the usual value of its family.

    confidence: objects below it are not reported; a classifier's `top` is empty below it. iou: of two boxes of one
    class that overlap by more, the less confident is removed. bars: where a letterboxed picture has them. colour: the
    order of the channels that the model expects. An input value is (pixel x scale - mean) / std, with mean and std in
    that order. input_size: height and width, for models that leave theirs open. class_names: by class id, or coco
    (COCO's names). class_names_file: one name per line, or the YAML file of a YOLO dataset. multi_label: a classifier
    may give several labels, those with a confidence of at least `threshold`. activation: turns a classifier's numbers
    into confidences (null: none if its graph ends with softmax or sigmoid, or if they lie between 0 and 1; otherwise
    softmax, with multi_label sigmoid). keypoint_names: of an object's keypoints, in their order. first_class_id: the
    number of the first class of an ssd model. providers: of onnxruntime; the first that works is used. threads: for one
    run. batch_size: at most so many pictures are run at once when several streams wait for the network, if its batch
    size is open. It helps on accelerators that have room for several pictures. embedding: the name of the output, or of
    the value inside of the graph, that is each picture's embedding (null: none); of shape (1, C, H, W), the C means are
    taken.
    """

    type: Literal["onnx"]
    path: Path
    family: Family = Family.AUTO
    confidence: Fraction = 0.1
    iou: Fraction = 0.45
    resize: Resize | None = None
    bars: Literal["both_sides", "right_below"] | None = None
    colour: Literal["rgb", "bgr"] | None = None
    scale: Annotated[float, Field(gt=0.0, le=255.0)] | None = None
    mean: PerChannel | None = None
    std: tuple[Divisor, Divisor, Divisor] | None = None
    input_size: tuple[Side, Side] | None = None
    class_names: Literal["coco"] | Annotated[tuple[ClassName, ...], Field(min_length=1)] | None = None
    class_names_file: Path | None = None
    keypoint_names: Annotated[tuple[ClassName, ...], Field(min_length=1)] | None = None
    first_class_id: Annotated[int, Field(ge=0, le=1)] | None = None
    multi_label: bool = False
    threshold: Fraction = 0.5
    activation: Literal["none", "softmax", "sigmoid"] | None = None
    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ("CPUExecutionProvider",)
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=64)] = 1
    embedding: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    model_id: Tag | None = None

    @model_validator(mode="after")
    def _sensible(self) -> OnnxSettings:
        if self.class_names is not None and self.class_names_file is not None:
            raise ValueError("give class_names or class_names_file, not both")
        if self.family not in (Family.AUTO, Family.CLASSIFIER):
            if self.multi_label or self.activation is not None:
                raise ValueError(f"multi_label and activation are for classifiers, not for family {self.family}")
            if self.resize is Resize.CROP:
                raise ValueError(f"resize: crop would remove what family {self.family} should find at the sides")
        if self.bars is not None and self.resize not in (None, Resize.LETTERBOX):
            raise ValueError(f"bars: resize {self.resize} leaves none; they are for resize: letterbox")
        if self.keypoint_names is not None and self.family not in (Family.AUTO, *KEYPOINT_FAMILIES):
            raise ValueError(f"keypoint_names: family {self.family} has no keypoints")
        if self.first_class_id is not None and self.family not in (Family.AUTO, Family.SSD):
            raise ValueError(f"first_class_id is for family ssd, not for {self.family}")
        return self
