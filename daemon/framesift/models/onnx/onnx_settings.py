"""Settings of the onnx model."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from framesift.config.paths import LocalPath
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
    (1, N, 4). yolov7-end2end: (N, 7), picture, corners, class, confidence. torchvision: boxes (N, 4), corners, labels
    and scores (N,), in any order, and masks (N, 1, h, w) if it has them; its keypoints are not read.
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
    TORCHVISION = "torchvision"

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
        *(Family.RFDETR, Family.SSD, Family.RTDETR, Family.DETR, Family.TORCHVISION),
    }
)
# Their class numbers may begin at 1.
COUNTING_FAMILIES = (Family.SSD, Family.TORCHVISION)
KEYPOINT_FAMILIES = frozenset({Family.YOLOV8_POSE, Family.END2END_POSE})
ROTATED_FAMILIES = frozenset({Family.YOLOV8_OBB, Family.END2END_OBB})

Side = Annotated[int, Field(ge=8, le=8192)]
PerChannel = tuple[float, float, float]
Divisor = Annotated[float, Field(gt=0.0)]
ClassName = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_NAME_LENGTH)]


class OnnxSettings(StrictModel):
    """A network in an ONNX file. Null: taken from the model's metadata, or the usual value of its family.

    An input value is (pixel x scale - mean) / std.
    """

    type: Annotated[Literal["onnx"], Field(description="A network in an ONNX file.")]
    path: Annotated[LocalPath, Field(description="The file.", examples=["detector.onnx"])]
    family: Annotated[
        Family, Field(description="How its outputs are read; auto: recognized by their shapes and the metadata.")
    ] = Family.AUTO
    confidence: Annotated[
        Fraction, Field(description="Objects below it are not reported; a classifier's `top` is empty below it.")
    ] = 0.1
    iou: Annotated[
        Fraction,
        Field(description="Of two boxes of one class that overlap by more, the less confident is removed."),
    ] = 0.45
    resize: Annotated[
        Resize | None,
        Field(
            description="How a picture becomes the input: letterbox keeps its shape and adds bars, stretch changes it, "
            "crop uses the middle."
        ),
    ] = None
    bars: Annotated[
        Literal["both_sides", "right_below"] | None, Field(description="Where a letterboxed picture has its bars.")
    ] = None
    colour: Annotated[
        Literal["rgb", "bgr"] | None, Field(description="The order of the channels that the model expects.")
    ] = None
    scale: Annotated[
        Annotated[float, Field(gt=0.0, le=255.0)] | None,
        Field(description="What each pixel (0 to 255) is multiplied by, before mean and std.", examples=[0.00392157]),
    ] = None
    mean: Annotated[
        PerChannel | None,
        Field(
            description="What is subtracted from each channel, after scale, in the order of colour.",
            examples=[[0.485, 0.456, 0.406]],
        ),
    ] = None
    std: Annotated[
        tuple[Divisor, Divisor, Divisor] | None,
        Field(description="What each channel is divided by at last.", examples=[[0.229, 0.224, 0.225]]),
    ] = None
    input_size: Annotated[
        tuple[Side, Side] | None,
        Field(description="Height and width in pixels, for models that leave theirs open.", examples=[[640, 640]]),
    ] = None
    class_names: Annotated[
        Literal["coco"] | Annotated[tuple[ClassName, ...], Field(min_length=1)] | None,
        Field(description="The names by class id, or coco for COCO's.", examples=[["car", "truck"]]),
    ] = None
    class_names_file: Annotated[
        LocalPath | None,
        Field(description="In place of class_names: one a line, or a YOLO dataset's YAML.", examples=["data.yaml"]),
    ] = None
    keypoint_names: Annotated[
        Annotated[tuple[ClassName, ...], Field(min_length=1)] | None,
        Field(description="The names of an object's keypoints, in their order.", examples=[["nose", "tail"]]),
    ] = None
    first_class_id: Annotated[
        Annotated[int, Field(ge=0, le=1)] | None,
        Field(description="The number of the first class of an ssd or torchvision model.", examples=[1]),
    ] = None
    multi_label: Annotated[bool, Field(description="true: a classifier may give several labels, or none.")] = False
    threshold: Annotated[
        Fraction, Field(description="With multi_label: labels with at least this confidence are given.")
    ] = 0.5
    activation: Annotated[
        Literal["none", "softmax", "sigmoid"] | None,
        Field(
            description="Turns a classifier's numbers into confidences. Null: none if its graph ends with one or they "
            "lie between 0 and 1, else softmax, with multi_label sigmoid."
        ),
    ] = None
    providers: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="Of onnxruntime; the first that works is used.",
            examples=[["CUDAExecutionProvider", "CPUExecutionProvider"]],
        ),
    ] = ("CPUExecutionProvider",)
    threads: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | None,
        Field(description="Threads for one run; null: onnxruntime's choice.", examples=[2]),
    ] = None
    batch_size: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="At most so many pictures are run at once when several streams wait, if the network's batch is "
            "open; it helps on accelerators.",
        ),
    ] = 1
    embedding: Annotated[
        Annotated[str, Field(min_length=1, max_length=1000)] | None,
        Field(
            description="The output, or the value inside of the graph, that is each picture's embedding; of shape "
            "(1, C, H, W), the C means are taken. Null: none.",
            examples=["features"],
        ),
    ] = None
    model_id: Annotated[
        Tag | None,
        Field(description="Its name in predictions; null: the file's.", examples=["parking/3"]),
    ] = None

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
        if self.first_class_id is not None and self.family not in (Family.AUTO, *COUNTING_FAMILIES):
            raise ValueError(
                f"first_class_id is for families {' and '.join(map(str, COUNTING_FAMILIES))}, not for {self.family}"
            )
        return self
