"""Telling a network's family by the shapes and names of its outputs, and refusing a family that does not fit them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framesift.models.model import ModelLoadError
from framesift.models.onnx.onnx_settings import Family

_STRIDES = (4, 8, 16, 32, 64)
_MOST_END2END = 1000
# Where only the shape tells: more would be candidates, taken for keypoints.
_MOST_KEYPOINTS = 200
# What TensorFlow's detection API calls the outputs of its models, and what its post-processing for devices does.
_SSD_NAMES = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
_SSD_DEVICE = "TFLite_Detection_PostProcess"
_RFDETR_NAMES = ("dets", "labels")


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """One output of a network, as it was for a picture of the input's size."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What is known of a network beside its outputs. height, width: of its input, in pixels. names: how many class
    names there are. single: a classifier of a single class makes sense. keypoints: how many an object has, and how many
    numbers each.
    """

    height: int
    width: int
    class_count: int | None = None
    single_class_allowed: bool = False
    keypoints: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FamilyMatch:
    """classes: how many the outputs speak of, None where their shapes do not tell. outputs: those that are read, in the
    family's order; the last is masks or their prototypes where `masks` says so. strides: of a yolox grid. keypoints: as
    in Seen. first_class_id: the number of the first class.
    """

    family: Family
    class_count: int | None
    output_indices: tuple[int, ...] = (0,)
    strides: tuple[int, ...] = ()
    has_masks: bool = False
    keypoints: tuple[int, int] | None = None
    first_class_id: int = 0


def match_family(
    requested: Family, outputs: Sequence[GraphOutput], facts: GraphFacts, among: frozenset[Family] | None = None
) -> FamilyMatch:
    """The family of a network, and what its outputs tell.

    requested: a family, which must fit, or auto. among: the families that auto may choose (None: all).
    Raises ModelLoadError, which shows the shapes.
    """
    shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    heads = f"The outputs for an input of {facts.height} x {facts.width} are {shapes}"
    known = "" if facts.class_count is None else f", with {facts.class_count} class names"
    if requested is not Family.AUTO:
        fit = _RULES[requested].fit(outputs, facts)
        if fit is None:
            raise ModelLoadError(
                f"model.family: {requested} does not fit. {heads}; {requested} means {_RULES[requested].form}"
            )
        if facts.class_count is not None and fit.class_count not in (None, facts.class_count):
            raise ModelLoadError(f"model.family: {requested} would read {fit.class_count} classes{known}. {heads}")
        return fit
    rules = {family: rule for family, rule in _RULES.items() if among is None or family in among}
    fits = [rule.fit(outputs, facts) for rule in rules.values() if rule.certain(outputs, facts)]
    found = [fit for fit in fits if fit is not None]
    agreeing = [fit for fit in found if facts.class_count is None or fit.class_count in (None, facts.class_count)]
    if len(agreeing) == 1:
        return agreeing[0]
    if agreeing:
        raise ModelLoadError(
            f"model.family: auto can't tell {' from '.join(str(fit.family) for fit in agreeing)}. {heads}{known}. "
            "Name the right one"
        )
    read = ", ".join(f"{fit.class_count} classes as {fit.family}" for fit in found)
    raise ModelLoadError(
        f"model.family: auto finds no family that fits{known}. {heads}{f' ({read})' if read else ''}. "
        f"Known are {'; '.join(f'{family}: {rule.form}' for family, rule in rules.items())}"
    )


def _classifier(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    shape = outputs[0].shape
    # Some exporters leave the pooled picture's 1 x 1 behind.
    flat = len(shape) >= 2 and shape[0] == 1 and all(side == 1 for side in shape[2:])
    return (
        FamilyMatch(Family.CLASSIFIER, shape[1])
        if flat and shape[1] >= (1 if seen.single_class_allowed else 2)
        else None
    )


def _yolov8(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table(outputs[0])
    return FamilyMatch(Family.YOLOV8, rows - 4) if rows > 4 and columns in _grids(seen) else None


def _yolov5(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table(outputs[0])
    fits = columns > 5 and rows % 3 == 0 and rows // 3 in _grids(seen)
    return FamilyMatch(Family.YOLOV5, columns - 5) if fits else None


def _yolox(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table(outputs[0])
    grids = _grids(seen)
    return FamilyMatch(Family.YOLOX, columns - 5, strides=grids[rows]) if columns > 5 and rows in grids else None


def _end2end(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table(outputs[0])
    return FamilyMatch(Family.END2END, None) if columns == 6 and rows <= _MOST_END2END else None


def _yolov8_seg(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    places = _with_masks(outputs)
    if places is None:
        return None
    (rows, columns), prototypes = _table(outputs[places[0]]), outputs[places[1]].shape[1]
    classes = rows - 4 - prototypes
    return (
        FamilyMatch(Family.YOLOV8_SEG, classes, places, has_masks=True)
        if classes > 0 and columns in _grids(seen)
        else None
    )


def _end2end_seg(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> FamilyMatch | None:
    places = _with_masks(outputs)
    if places is None:
        return None
    (rows, columns), prototypes = _table(outputs[places[0]]), outputs[places[1]].shape[1]
    fits = columns == 6 + prototypes and rows <= _MOST_END2END
    return FamilyMatch(Family.END2END_SEG, None, places, has_masks=True) if fits else None


def _yolov8_pose(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table(outputs[0])
    if columns not in _grids(seen):
        return None
    said = None if seen.keypoints is None else rows - 4 - seen.keypoints[0] * seen.keypoints[1]
    classes = (seen.class_count or 1) if said is None else said
    keypoints = seen.keypoints or _triples(rows - 4 - classes)
    return FamilyMatch(Family.YOLOV8_POSE, classes, keypoints=keypoints) if classes > 0 and keypoints else None


def _end2end_pose(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table(outputs[0])
    keypoints = seen.keypoints or _triples(columns - 6)
    fits = keypoints is not None and columns == 6 + keypoints[0] * keypoints[1] and rows <= _MOST_END2END
    return FamilyMatch(Family.END2END_POSE, None, keypoints=keypoints) if fits else None


def _rfdetr(outputs: Sequence[GraphOutput], seen: GraphFacts) -> FamilyMatch | None:
    named = {output.name: place for place, output in enumerate(outputs)}
    places = tuple(named[name] for name in _RFDETR_NAMES if name in named)
    if len(places) != 2:
        places = (0, 1)
    if len(outputs) < 2:
        return None
    (queries, four), (rows, columns) = (_table(outputs[place]) for place in places)
    if four != 4 or rows != queries or columns < 1:
        return None
    mask = [place for place, output in enumerate(outputs) if _query_masks(output, queries, seen)]
    # Most have a last column that stands for no object; those trained on COCO have a class in it.
    classes = columns - 1 if seen.class_count == columns - 1 else columns
    return FamilyMatch(Family.RFDETR, classes, (*places, *mask[:1]), has_masks=bool(mask))


def _ssd(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> FamilyMatch | None:
    named = {output.name.partition(":")[0]: place for place, output in enumerate(outputs)}
    by_name = all(name in named for name in _SSD_NAMES[:3])
    places = tuple(named[name] for name in _SSD_NAMES if name in named) if by_name else tuple(range(len(outputs)))[:4]
    if len(places) < 3:
        return None
    boxes, classes, scores = (outputs[place].shape for place in places[:3])
    fits = len(boxes) == 3 and boxes[0] == 1 and boxes[2] == 4 and classes == scores == boxes[:2]
    # The API counts classes from 1: 0 is the background. Its post-processing for devices has taken that off.
    return FamilyMatch(Family.SSD, None, places, first_class_id=1 if by_name else 0) if fits else None


@dataclass(frozen=True, slots=True)
class _Rule:
    """form: what the outputs are, to be shown. fit: None where they aren't. certain: whether auto may think of it."""

    form: str
    fit: Callable[[Sequence[GraphOutput], GraphFacts], FamilyMatch | None]
    certain: Callable[[Sequence[GraphOutput], GraphFacts], bool]


def _alone(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> bool:
    return len(outputs) == 1


def _paired(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> bool:
    return len(outputs) == 2


def _keypoints_known(outputs: Sequence[GraphOutput], seen: GraphFacts) -> bool:
    # Without it, any number of classes could be keypoints.
    return len(outputs) == 1 and seen.keypoints is not None


def _rfdetr_named(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> bool:
    return {output.name for output in outputs} >= set(_RFDETR_NAMES)


def _ssd_named(outputs: Sequence[GraphOutput], _seen: GraphFacts) -> bool:
    names = {output.name.partition(":")[0] for output in outputs}
    return names >= set(_SSD_NAMES[:3]) or all(name.startswith(_SSD_DEVICE) for name in names)


_RULES = {
    Family.YOLOV8: _Rule("(1, 4 + classes, N)", _yolov8, _alone),
    Family.YOLOV5: _Rule("(1, N, 5 + classes), three candidates a cell", _yolov5, _alone),
    Family.END2END: _Rule(f"(1, N, 6) with N up to {_MOST_END2END}", _end2end, _alone),
    Family.YOLOX: _Rule("(1, N, 5 + classes), one candidate a cell", _yolox, _alone),
    Family.CLASSIFIER: _Rule("(1, classes)", _classifier, _alone),
    Family.YOLOV8_SEG: _Rule("(1, 4 + classes + M, N) and (1, M, h, w)", _yolov8_seg, _paired),
    Family.END2END_SEG: _Rule("(1, N, 6 + M) and (1, M, h, w)", _end2end_seg, _paired),
    Family.YOLOV8_POSE: _Rule("(1, 4 + classes + 3 x keypoints, N)", _yolov8_pose, _keypoints_known),
    Family.END2END_POSE: _Rule("(1, N, 6 + 3 x keypoints)", _end2end_pose, _keypoints_known),
    Family.RFDETR: _Rule("dets (1, N, 4) and labels (1, N, classes + 1)", _rfdetr, _rfdetr_named),
    Family.SSD: _Rule("boxes (1, N, 4), classes (1, N), scores (1, N) and how many of them count", _ssd, _ssd_named),
}


def _table(output: GraphOutput) -> tuple[int, int]:
    """Rows and columns of an output for one picture; -1, -1 where it is no table."""
    shape = output.shape
    return (shape[1], shape[2]) if len(shape) == 3 and shape[0] == 1 else (-1, -1)


def _picture(output: GraphOutput) -> bool:
    return len(output.shape) == 4 and output.shape[0] == 1 and min(output.shape) > 0


def _query_masks(output: GraphOutput, queries: int, seen: GraphFacts) -> bool:
    """Whether it is a mask for each query: a picture in the proportions of the input. Its keypoints are none."""
    if not _picture(output) or output.shape[1] != queries:
        return False
    height, width = output.shape[2:]
    return height * seen.width == width * seen.height


def _with_masks(outputs: Sequence[GraphOutput]) -> tuple[int, int] | None:
    """The places of the first table and of the first stack of pictures."""
    tables = [place for place, output in enumerate(outputs) if len(output.shape) == 3]
    pictures = [place for place, output in enumerate(outputs) if _picture(output)]
    return (tables[0], pictures[0]) if tables and pictures else None


def _triples(numbers: int) -> tuple[int, int] | None:
    return (numbers // 3, 3) if 0 < numbers <= 3 * _MOST_KEYPOINTS and numbers % 3 == 0 else None


def _grids(seen: GraphFacts) -> dict[int, tuple[int, ...]]:
    """Number of cells -> strides of the levels that have them, for every run of two and more neighbouring strides.

    Single levels are left out: 10 x 10 cells of stride 64 times three look like the 300 boxes of an end-to-end head.
    """
    grids: dict[int, tuple[int, ...]] = {}
    for first in range(len(_STRIDES)):
        for last in range(first + 1, len(_STRIDES)):
            strides = _STRIDES[first : last + 1]
            cells = sum(-(-seen.height // stride) * -(-seen.width // stride) for stride in strides)
            # Three levels are usual, and keep their place should a small input make two runs equal.
            if cells not in grids or strides == (8, 16, 32):
                grids[cells] = strides
    return grids
