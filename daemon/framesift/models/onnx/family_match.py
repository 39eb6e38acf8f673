"""What is known of a network before and after its family is found."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.models.onnx.onnx_settings import Family


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """One output of a network, for one picture of the input's size.

    per_picture: its first side counts pictures, as far as the graph tells. whole_numbers: the type of its values.
    """

    name: str
    shape: tuple[int, ...]
    per_picture: bool = True
    whole_numbers: bool = False


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What is known about a network besides its outputs.

    height, width: of its input in pixels. class_count: number of class names, None if there are none. names_from: where
    they stand, to be shown.
    single_class_allowed: a classifier of a single class makes sense. keypoints: keypoints per object, and numbers per
    keypoint. rotated: its boxes are, as its metadata say.
    """

    height: int
    width: int
    class_count: int | None = None
    single_class_allowed: bool = False
    keypoints: tuple[int, int] | None = None
    rotated: bool = False
    names_from: str = "model.class_names"


@dataclass(frozen=True, slots=True)
class FamilyMatch:
    """A family, and how it reads the outputs.

    class_count: of the outputs, None if their shapes do not tell. output_indices: the outputs that are read, in the
    family's order; the last is masks or mask prototypes if `has_masks`. strides: of a yolox grid. keypoints: as in
    GraphFacts. first_class_id: the number of the first class. per_picture: its outputs' first side counts pictures.
    """

    family: Family
    class_count: int | None
    output_indices: tuple[int, ...] = (0,)
    strides: tuple[int, ...] = ()
    has_masks: bool = False
    keypoints: tuple[int, int] | None = None
    first_class_id: int = 0
    per_picture: bool = True

    @property
    def smooths(self) -> bool:
        """Whether its exporter's own program smooths pictures when it shrinks them; Ultralytics' RT-DETR does not."""
        return self.family is Family.DETR or (self.family is Family.RTDETR and len(self.output_indices) > 1)
