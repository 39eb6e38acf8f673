"""Finds a network's family by the shapes and names of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framesift.models.model import ModelLoadError
from framesift.models.onnx.family_match import FamilyMatch, GraphFacts, GraphOutput
from framesift.models.onnx.onnx_settings import Family

_STRIDES = (4, 8, 16, 32, 64)
_MAX_END2END_ROWS = 1000
# When only the shape is known: more than this would be candidates that are mistaken for keypoints.
_MAX_KEYPOINTS = 200
# The output names of TensorFlow's detection API, and of its post-processing for devices.
_SSD_NAMES = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
_SSD_DEVICE = "TFLite_Detection_PostProcess"
_RFDETR_NAMES = ("dets", "labels")
_RTDETR_NAMES = ("labels", "boxes", "scores")
_LOGITS_NAMES, _BOXES_NAMES = ("logits", "pred_logits"), ("pred_boxes",)
_MAX_QUERY_CLASSES = 1000


def match_family(
    requested: Family, outputs: Sequence[GraphOutput], facts: GraphFacts, among: frozenset[Family] | None = None
) -> FamilyMatch:
    """Finds the family of a network.

    requested: a family, which must fit, or auto. among: the families that auto may choose (None: all). Raises
    ModelLoadError, which shows the shapes.
    """
    shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    outputs_text = f"The outputs for an input of {facts.height} x {facts.width} are {shapes}"
    names_text = "" if facts.class_count is None else f", with {_counted(facts.class_count, 'class name')}"
    if requested is not Family.AUTO:
        match = _RULES[requested].match(outputs, facts)
        if match is None:
            raise ModelLoadError(
                f"model.family: {requested} does not fit. {outputs_text}; {requested} means {_RULES[requested].form}"
            )
        if facts.class_count is not None and match.class_count not in (None, facts.class_count):
            raise ModelLoadError(f"{_wrong_count([match], facts)}. {outputs_text}")
        return match
    rules = {family: rule for family, rule in _RULES.items() if among is None or family in among}
    candidates = [rule.match(outputs, facts) for rule in rules.values() if rule.is_auto(outputs, facts)]
    matches = [match for match in candidates if match is not None]
    agreeing = [
        match for match in matches if facts.class_count is None or match.class_count in (None, facts.class_count)
    ]
    if len(agreeing) == 1:
        return agreeing[0]
    if agreeing:
        raise ModelLoadError(
            f"model.family: auto can't tell {' from '.join(str(match.family) for match in agreeing)}. "
            f"{outputs_text}{names_text}. Name the right one"
        )
    if matches:
        raise ModelLoadError(f"{_wrong_count(matches, facts)}. {outputs_text}")
    raise ModelLoadError(
        f"model.family: auto finds no family that fits{names_text}. {outputs_text}. "
        f"Known are {'; '.join(f'{family}: {rule.form}' for family, rule in rules.items())}"
    )


def _wrong_count(matches: Sequence[FamilyMatch], facts: GraphFacts) -> str:
    """matches: what would fit but for the number of names."""
    read = ", or ".join(
        f"{_counted(match.class_count or 0, 'class', 'classes')} as {match.family}" for match in matches
    )
    wanted = " or ".join(str(count) for count in dict.fromkeys(match.class_count for match in matches))
    given = _counted(facts.class_count or 0, "name")
    return f"{facts.names_from}: {given}, but the network has {read}: give {wanted}, or set another model.family"


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def _classifier(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    shape = outputs[0].shape
    # Some exporters keep the 1 x 1 axes of the pooled picture.
    flat = len(shape) >= 2 and shape[0] == 1 and all(side == 1 for side in shape[2:])
    return (
        FamilyMatch(Family.CLASSIFIER, shape[1])
        if flat and shape[1] >= (1 if facts.single_class_allowed else 2)
        else None
    )


def _yolov8(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    return FamilyMatch(Family.YOLOV8, rows - 4) if rows > 4 and columns in _grids(facts) else None


def _yolov5(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    is_match = columns > 5 and rows % 3 == 0 and rows // 3 in _grids(facts)
    return FamilyMatch(Family.YOLOV5, columns - 5) if is_match else None


def _yolox(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    grids = _grids(facts)
    return FamilyMatch(Family.YOLOX, columns - 5, strides=grids[rows]) if columns > 5 and rows in grids else None


def _end2end(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    return FamilyMatch(Family.END2END, None) if columns == 6 and rows <= _MAX_END2END_ROWS else None


def _yolov8_seg(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    indices = _table_and_masks(outputs)
    if indices is None:
        return None
    (rows, columns), prototypes = _table_shape(outputs[indices[0]]), outputs[indices[1]].shape[1]
    classes = rows - 4 - prototypes
    return (
        FamilyMatch(Family.YOLOV8_SEG, classes, indices, has_masks=True)
        if classes > 0 and columns in _grids(facts)
        else None
    )


def _end2end_seg(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    indices = _table_and_masks(outputs)
    if indices is None:
        return None
    (rows, columns), prototypes = _table_shape(outputs[indices[0]]), outputs[indices[1]].shape[1]
    is_match = columns == 6 + prototypes and rows <= _MAX_END2END_ROWS
    return FamilyMatch(Family.END2END_SEG, None, indices, has_masks=True) if is_match else None


def _yolov8_pose(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    if columns not in _grids(facts):
        return None
    class_count_left = None if facts.keypoints is None else rows - 4 - facts.keypoints[0] * facts.keypoints[1]
    classes = (facts.class_count or 1) if class_count_left is None else class_count_left
    keypoints = facts.keypoints or _keypoint_triples(rows - 4 - classes)
    return FamilyMatch(Family.YOLOV8_POSE, classes, keypoints=keypoints) if classes > 0 and keypoints else None


def _end2end_pose(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    keypoints = facts.keypoints or _keypoint_triples(columns - 6)
    is_match = keypoints is not None and columns == 6 + keypoints[0] * keypoints[1] and rows <= _MAX_END2END_ROWS
    return FamilyMatch(Family.END2END_POSE, None, keypoints=keypoints) if is_match else None


def _yolov8_obb(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    return FamilyMatch(Family.YOLOV8_OBB, rows - 5) if rows > 5 and columns in _grids(facts) else None


def _end2end_obb(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    rows, columns = _table_shape(outputs[0])
    return FamilyMatch(Family.END2END_OBB, None) if columns == 7 and rows <= _MAX_END2END_ROWS else None


def _rfdetr(outputs: Sequence[GraphOutput], facts: GraphFacts) -> FamilyMatch | None:
    index_by_name = {output.name: index for index, output in enumerate(outputs)}
    indices = tuple(index_by_name[name] for name in _RFDETR_NAMES if name in index_by_name)
    if len(indices) != 2:
        indices = (0, 1)
    if len(outputs) < 2:
        return None
    (queries, four), (rows, columns) = (_table_shape(outputs[index]) for index in indices)
    if four != 4 or rows != queries or columns < 1:
        return None
    mask_indices = [index for index, output in enumerate(outputs) if _is_query_masks(output, queries, facts)]
    # In most networks the last column means 'no object'; in those trained on COCO it is a class.
    classes = columns - 1 if facts.class_count == columns - 1 else columns
    return FamilyMatch(Family.RFDETR, classes, (*indices, *mask_indices[:1]), has_masks=bool(mask_indices))


def _rtdetr(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    if len(outputs) == 1:
        queries, columns = _table_shape(outputs[0])
        fits = 0 < queries <= _MAX_END2END_ROWS and 4 < columns <= 4 + _MAX_QUERY_CLASSES
        # Of six columns, the last two may be confidence and class.
        return FamilyMatch(Family.RTDETR, None if columns == 6 else columns - 4) if fits else None
    index_by_name = {output.name: index for index, output in enumerate(outputs)}
    if all(name in index_by_name for name in _RTDETR_NAMES):
        indices = tuple(index_by_name[name] for name in _RTDETR_NAMES)
        labels, boxes, scores = (outputs[index].shape for index in indices)
        fits = len(boxes) == 3 and boxes[0] == 1 and boxes[2] == 4 and labels == scores == boxes[:2]
        return FamilyMatch(Family.RTDETR, None, indices) if fits else None
    found = _logits_and_boxes(outputs)
    if found is None:
        return None
    logits, boxes_index = found
    return FamilyMatch(Family.RTDETR, outputs[logits].shape[2], (boxes_index, logits))


def _detr(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    found = _logits_and_boxes(outputs)
    if found is None or outputs[found[0]].shape[2] < 2:
        return None
    return FamilyMatch(Family.DETR, outputs[found[0]].shape[2] - 1, found)


def _logits_and_boxes(outputs: Sequence[GraphOutput]) -> tuple[int, int] | None:
    """The indices of the logits, (1, Q, C), and of the boxes, (1, Q, 4): by their names, or the first two."""
    if len(outputs) < 2:
        return None
    names = [output.name for output in outputs]
    logits = next((names.index(name) for name in _LOGITS_NAMES if name in names), 0)
    boxes = next((names.index(name) for name in _BOXES_NAMES if name in names), 1)
    (queries, columns), (rows, four) = _table_shape(outputs[logits]), _table_shape(outputs[boxes])
    return (logits, boxes) if logits != boxes and four == 4 and rows == queries and columns >= 1 else None


def _yolov7_end2end(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    shape = outputs[0].shape
    fits = len(shape) == 2 and shape[1] == 7
    return FamilyMatch(Family.YOLOV7_END2END, None, per_picture=False) if fits else None


def _torchvision(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    """Its outputs have names only if somebody gave them; detectors differ in their order."""
    boxes = [index for index, output in enumerate(outputs) if len(output.shape) == 2 and output.shape[1] == 4]
    lists = [index for index, output in enumerate(outputs) if len(output.shape) == 1]
    labels = [index for index in lists if outputs[index].whole_numbers]
    scores = [index for index in lists if index not in labels]
    if not boxes or len(labels) != 1 or len(scores) != 1:
        return None
    indices = (boxes[0], labels[0], scores[0])
    found = outputs[boxes[0]].shape[0]
    masks = [i for i, output in enumerate(outputs) if len(output.shape) == 4 and output.shape[:2] == (found, 1)]
    return (
        FamilyMatch(
            Family.TORCHVISION,
            None,
            (*indices, *masks[:1]),
            has_masks=bool(masks),
            first_class_id=1,
            per_picture=False,
        )
        if {outputs[index].shape[0] for index in indices} == {found}
        else None
    )


def _ssd(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> FamilyMatch | None:
    index_by_name = {output.name.partition(":")[0]: index for index, output in enumerate(outputs)}
    has_names = all(name in index_by_name for name in _SSD_NAMES[:3])
    indices = (
        tuple(index_by_name[name] for name in _SSD_NAMES if name in index_by_name)
        if has_names
        else tuple(range(len(outputs)))[:4]
    )
    if len(indices) < 3:
        return None
    boxes, classes, scores = (outputs[index].shape for index in indices[:3])
    is_match = len(boxes) == 3 and boxes[0] == 1 and boxes[2] == 4 and classes == scores == boxes[:2]
    # The API counts classes from 1, 0 is the background. Its post-processing for devices counts from 0.
    return FamilyMatch(Family.SSD, None, indices, first_class_id=1 if has_names else 0) if is_match else None


@dataclass(frozen=True, slots=True)
class _Rule:
    """A family's rule.

    form: what its outputs are, to be shown. match: None if they do not fit. is_auto: whether auto may choose it.
    """

    form: str
    match: Callable[[Sequence[GraphOutput], GraphFacts], FamilyMatch | None]
    is_auto: Callable[[Sequence[GraphOutput], GraphFacts], bool]


def _one_output(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    return len(outputs) == 1


def _two_outputs(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    return len(outputs) == 2


def _several_outputs(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    return len(outputs) >= 3


def _keypoints_known(outputs: Sequence[GraphOutput], facts: GraphFacts) -> bool:
    # Without them, any number of classes could be keypoints.
    return len(outputs) == 1 and facts.keypoints is not None


def _rotated(outputs: Sequence[GraphOutput], facts: GraphFacts) -> bool:
    # The angle could as well be one more class.
    return len(outputs) == 1 and facts.rotated


def _one_row_per_picture(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    return len(outputs) == 1 and outputs[0].per_picture


def _rows_of_all_pictures(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    return len(outputs) == 1 and (not outputs[0].per_picture or outputs[0].shape[:1] != (1,))


def _rtdetr_told(outputs: Sequence[GraphOutput], facts: GraphFacts) -> bool:
    """A table is one only if the class names say so; several outputs have names."""
    if len(outputs) == 1:
        return facts.class_count is not None and _table_shape(outputs[0])[1] == 4 + facts.class_count != 6
    return {output.name for output in outputs} >= set(_RTDETR_NAMES) or _logits_named(outputs, facts)


def _logits_named(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    names = {output.name for output in outputs}
    return not names.isdisjoint(_LOGITS_NAMES) and not names.isdisjoint(_BOXES_NAMES)


def _rfdetr_named(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    return {output.name for output in outputs} >= set(_RFDETR_NAMES)


def _ssd_named(outputs: Sequence[GraphOutput], _facts: GraphFacts) -> bool:
    names = {output.name.partition(":")[0] for output in outputs}
    return names >= set(_SSD_NAMES[:3]) or all(name.startswith(_SSD_DEVICE) for name in names)


_RULES = {
    Family.YOLOV8: _Rule("(1, 4 + classes, N)", _yolov8, _one_output),
    Family.YOLOV5: _Rule("(1, N, 5 + classes), three candidates a cell", _yolov5, _one_output),
    Family.END2END: _Rule(f"(1, N, 6) with N up to {_MAX_END2END_ROWS}", _end2end, _one_output),
    Family.YOLOX: _Rule("(1, N, 5 + classes), one candidate a cell", _yolox, _one_output),
    Family.CLASSIFIER: _Rule("(1, classes)", _classifier, _one_row_per_picture),
    Family.YOLOV8_SEG: _Rule("(1, 4 + classes + M, N) and (1, M, h, w)", _yolov8_seg, _two_outputs),
    Family.END2END_SEG: _Rule("(1, N, 6 + M) and (1, M, h, w)", _end2end_seg, _two_outputs),
    Family.YOLOV8_POSE: _Rule("(1, 4 + classes + 3 x keypoints, N)", _yolov8_pose, _keypoints_known),
    Family.END2END_POSE: _Rule("(1, N, 6 + 3 x keypoints)", _end2end_pose, _keypoints_known),
    Family.YOLOV8_OBB: _Rule("(1, 4 + classes + 1, N)", _yolov8_obb, _rotated),
    Family.END2END_OBB: _Rule("(1, N, 7)", _end2end_obb, _rotated),
    Family.RFDETR: _Rule("dets (1, N, 4) and labels (1, N, classes + 1)", _rfdetr, _rfdetr_named),
    Family.SSD: _Rule("boxes (1, N, 4), classes (1, N), scores (1, N) and how many of them count", _ssd, _ssd_named),
    Family.RTDETR: _Rule(
        "(1, N, 6), (1, N, 4 + classes), logits (1, N, classes) and pred_boxes (1, N, 4), or labels, boxes and scores",
        _rtdetr,
        _rtdetr_told,
    ),
    Family.DETR: _Rule("logits (1, N, classes + 1) and pred_boxes (1, N, 4)", _detr, _logits_named),
    Family.TORCHVISION: _Rule("boxes (N, 4), labels (N,) and scores (N,)", _torchvision, _several_outputs),
    Family.YOLOV7_END2END: _Rule("(N, 7)", _yolov7_end2end, _rows_of_all_pictures),
}


def _table_shape(output: GraphOutput) -> tuple[int, int]:
    """Rows and columns of an output for one picture; -1, -1 if it is not a table."""
    shape = output.shape
    return (shape[1], shape[2]) if len(shape) == 3 and shape[0] == 1 else (-1, -1)


def _is_image_stack(output: GraphOutput) -> bool:
    return len(output.shape) == 4 and output.shape[0] == 1 and min(output.shape) > 0


def _is_query_masks(output: GraphOutput, queries: int, facts: GraphFacts) -> bool:
    """Whether it holds a mask for each query, in the proportions of the input; RF-DETR's keypoints do not."""
    if not _is_image_stack(output) or output.shape[1] != queries:
        return False
    height, width = output.shape[2:]
    return height * facts.width == width * facts.height


def _table_and_masks(outputs: Sequence[GraphOutput]) -> tuple[int, int] | None:
    """The indices of the first table and of the first stack of images."""
    tables = [index for index, output in enumerate(outputs) if len(output.shape) == 3]
    pictures = [index for index, output in enumerate(outputs) if _is_image_stack(output)]
    return (tables[0], pictures[0]) if tables and pictures else None


def _keypoint_triples(numbers: int) -> tuple[int, int] | None:
    return (numbers // 3, 3) if 0 < numbers <= 3 * _MAX_KEYPOINTS and numbers % 3 == 0 else None


def _grids(facts: GraphFacts) -> dict[int, tuple[int, ...]]:
    """The grids that the outputs may have: number of cells -> strides of the levels with so many cells.

    Every run of two or more neighbouring strides is a grid. Single levels are left out: 10 x 10 cells of stride 64
    times three look like the 300 boxes of an end-to-end head.
    """
    grids: dict[int, tuple[int, ...]] = {}
    for first in range(len(_STRIDES)):
        for last in range(first + 1, len(_STRIDES)):
            strides = _STRIDES[first : last + 1]
            cells = sum(-(-facts.height // stride) * -(-facts.width // stride) for stride in strides)
            # Three levels are usual, so they win if a small input gives two runs the same number of cells.
            if cells not in grids or strides == (8, 16, 32):
                grids[cells] = strides
    return grids
