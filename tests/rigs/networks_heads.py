"""Networks that find what is red or blue, as `networks.spotting` does, with other heads.

These heads have more than boxes (outlines, keypoints), or several outputs.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from rigs.networks import _SPOT, HEIGHT, WIDTH, cells

QUERIES = 30
FOUND_BY_SSD = 10
SURE, UNSURE = 0.9, 0.25  # of its two keypoints: the box's top left corner, and its bottom right one
_CELLS = cells(HEIGHT, WIDTH)
_QUARTER = f"{HEIGHT // 4}, {WIDTH // 4}"

_BEST = """
  confidence = Max (red, blue)
  is_blue = Greater (blue, red)
  class = Cast <to = 1> (is_blue)
"""
# What is spotted is where the first prototype, less half of the second, is above 0: the share of 4 x 4 pixels.
_MASKS = """
  share = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (mask)
  nothing = Sub (share, share)
  everywhere = Add (nothing, most)
  weights_said = Constant <value = float[2] {1.0, -0.5}> ()
  weights = Add (weights_said, zero)
  output1 = Concat <axis = 1> (share, everywhere)
"""
_KEYPOINTS = f"""
  sure_said = Constant <value = float[1] {{{SURE}}}> ()
  sure = Add (sure_said, zero)
  unsure_said = Constant <value = float[1] {{{UNSURE}}}> ()
  unsure = Add (unsure_said, zero)
"""
# The same box, lying on its side and turned by a quarter.
_TURNED = """
  quarter_said = Constant <value = float[1] {1.5707963267948966}> ()
  quarter = Add (quarter_said, zero)
"""


def _padded(name: str, values: str, shape: tuple[int, ...], at: tuple[int, ...], fill: float = 0.0) -> str:
    """`values`, one row of the last axis of `shape` (or of its last two), in its place; `fill` everywhere else."""
    sides = ["1" if before >= 0 else str(side) for side, before in zip(shape, at, strict=True)]
    single = ", ".join(["-1", *sides[1:]])  # for as many pictures as there are
    begins = [max(before, 0) for before in at]
    ends = [side - before - 1 if before >= 0 else 0 for side, before in zip(shape, at, strict=True)]
    return f"""
  single_{name} = Constant <value = int64[{len(shape)}] {{{single}}}> ()
  pads_{name} = Constant <value = int64[{2 * len(shape)}] {{{", ".join(map(str, begins + ends))}}}> ()
  fill_{name} = Constant <value = float {{{fill}}}> ()
  one_{name} = Reshape ({values}, single_{name})
  {name} = Pad (one_{name}, pads_{name}, fill_{name})
"""


def _columns(row: str, count: int) -> str:
    return f"row = Concat <axis = 1> ({row})" + _padded("output0", "row", (1, count, _CELLS), (0, -1, 5))


def _rows(row: str, count: int) -> str:
    return f"row = Concat <axis = 1> ({row})" + _padded("output0", "row", (1, 300, count), (0, 5, -1))


_LOGITS = (
    f"""
  centred = Concat <axis = 1> (x, y, w, h)
  sides = Constant <value = float[4] {{{WIDTH}.0, {HEIGHT}.0, {WIDTH}.0, {HEIGHT}.0}}> ()
  shares = Div (centred, sides)
  both = Concat <axis = 1> (red, blue)
  a_little = Constant <value = float {{0.000001}}> ()
  nearly = Constant <value = float {{0.999999}}> ()
  bounded = Clip (both, a_little, nearly)
  other = Sub (most, bounded)
  odds = Div (bounded, other)
  raw = Log (odds)
  low_said = Constant <value = float[1] {{-20.0}}> ()
  low = Add (low_said, zero)
  three = Concat <axis = 1> (raw, low)
"""
    + _padded("dets", "shares", (1, QUERIES, 4), (0, 5, -1))
    + _padded("labels", "three", (1, QUERIES, 3), (0, 5, -1), -20)
)

_QUERY_MASKS = """
  share = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (mask)
  above = Sub (share, half)
""" + _padded("masks", "above", (1, QUERIES, HEIGHT // 4, WIDTH // 4), (0, 5, -1, -1), -1)


def _ssd(first_class_id: int) -> str:
    return f"""
  corners = Concat <axis = 1> (y1, x1, y2, x2)
  sides = Constant <value = float[4] {{{HEIGHT}.0, {WIDTH}.0, {HEIGHT}.0, {WIDTH}.0}}> ()
  shares = Div (corners, sides)
  first = Constant <value = float {{{first_class_id}.0}}> ()
  counted = Add (class, first)
  no_detections = Squeeze (zero, one)
  num_detections = Add (no_detections, most)
""" + (
        _padded("detection_boxes", "shares", (1, FOUND_BY_SSD, 4), (0, 0, -1))
        + _padded("detection_classes", "counted", (1, FOUND_BY_SSD), (0, 0), 1)
        # Beyond those that count, there is noise.
        + _padded("detection_scores", "confidence", (1, FOUND_BY_SSD), (0, 0), 0.7)
    )


_TABLE = f"float[1, {{}}, {_CELLS}] output0"
_FINISHED = "float[1, 300, {}] output0"
_PROTOTYPES = f", float[1, 2, {_QUARTER}] output1"
_QUERIED = f"float[1, {QUERIES}, 4] dets, float[1, {QUERIES}, 3] labels"
_SSD_OUTPUTS = (
    f"float[1, {FOUND_BY_SSD}, 4] detection_boxes, float[1, {FOUND_BY_SSD}] detection_classes, "
    f"float[1, {FOUND_BY_SSD}] detection_scores, float[1] num_detections"
)
# Of one picture; as many rows as there are objects.
_FOUND = """
  corners = Concat <axis = 1> (x1, y1, x2, y2)
  flat = Constant <value = int64[1] {-1}> ()
  a_twentieth = Constant <value = float[1] {0.05}> ()
  confidences = Reshape (confidence, flat)
  is_there = Greater (confidences, a_twentieth)
  counted = Add (class, most)
  whole = Cast <to = 7> (counted)
  classes = Reshape (whole, flat)
  boxes = Compress <axis = 0> (corners, is_there)
  scores = Compress <axis = 0> (confidences, is_there)
  labels = Compress <axis = 0> (classes, is_there)
"""
# What is spotted has a probability of 0.9, all else one of 0.3.
_PROBABILITIES = """
  contrast = Constant <value = float {0.6}> ()
  lowest = Constant <value = float {0.3}> ()
  raised = Mul (mask, contrast)
  probability = Add (raised, lowest)
  masks = Compress <axis = 0> (probability, is_there)
"""
_FOUND_OUTPUTS = "float[n, 4] boxes, float[n] scores, int64[n] labels"
# family -> its outputs, and how they come about
_HEADS = {
    "yolov8-seg": (_TABLE.format(8) + _PROTOTYPES, _MASKS + _columns("x, y, w, h, red, blue, weights", 8)),
    "end2end-seg": (
        _FINISHED.format(8) + _PROTOTYPES,
        _BEST + _MASKS + _rows("x1, y1, x2, y2, confidence, class, weights", 8),
    ),
    "yolov8-pose": (
        _TABLE.format(12),
        _KEYPOINTS + _columns("x, y, w, h, red, blue, x1, y1, sure, x2, y2, unsure", 12),
    ),
    "end2end-pose": (
        _FINISHED.format(12),
        _BEST + _KEYPOINTS + _rows("x1, y1, x2, y2, confidence, class, x1, y1, sure, x2, y2, unsure", 12),
    ),
    "yolov8-obb": (_TABLE.format(7), _TURNED + _columns("x, y, h, w, red, blue, quarter", 7)),
    "end2end-obb": (
        _FINISHED.format(7),
        _BEST + _TURNED + _rows("x, y, h, w, confidence, class, quarter", 7),
    ),
    "rfdetr": (_QUERIED, _LOGITS),
    "rfdetr with masks": (f"{_QUERIED}, float[1, {QUERIES}, {_QUARTER}] masks", _LOGITS + _QUERY_MASKS),
    "rtdetr": (
        f"float[1, {QUERIES}, 6] output0",
        _BEST
        + _LOGITS
        + "row = Concat <axis = 1> (shares, confidence, class)"
        + _padded("output0", "row", (1, QUERIES, 6), (0, 0, -1)),
    ),
    "rtdetr by class": (
        f"float[1, {QUERIES}, 6] output0",
        _LOGITS
        + "row = Concat <axis = 1> (shares, bounded)"
        + _padded("output0", "row", (1, QUERIES, 6), (0, 5, -1), 0.01),
    ),
    "rtdetr logits": (
        f"float[1, {QUERIES}, 2] logits, float[1, {QUERIES}, 4] pred_boxes",
        _LOGITS + "pred_boxes = Identity (dets)" + _padded("logits", "raw", (1, QUERIES, 2), (0, 5, -1), -20),
    ),
    "detr": (
        f"float[1, {QUERIES}, 3] logits, float[1, {QUERIES}, 4] pred_boxes",
        _LOGITS
        + "pred_boxes = Identity (dets)\n  with_none = Concat <axis = 1> (raw, zero)"
        + _padded("logits", "with_none", (1, QUERIES, 3), (0, 5, -1), -20),
    ),
    "torchvision": (_FOUND_OUTPUTS, _BEST + _FOUND),
    "torchvision with masks": (
        f"{_FOUND_OUTPUTS}, float[n, 1, {HEIGHT}, {WIDTH}] masks",
        _BEST + _FOUND + _PROBABILITIES,
    ),
    "ssd": (_SSD_OUTPUTS, _BEST + _ssd(1)),
    "ssd from 0": (_SSD_OUTPUTS, _BEST + _ssd(0)),
}


def reporting(
    path: Path,
    head: str,
    *,
    peak: float = 1.0,
    number: str = "float",
    channels_last: bool = False,
    batch: str = "1",
    renamed: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A detector of what is red (class 0) or blue (class 1), for pictures of HEIGHT x WIDTH.

    head: one of the table above. peak, batch: as of `spotting`; batch "": its input is one picture, without that side.
    number: of the input. renamed: what its input `given` and its outputs are called instead.
    """
    outputs, nodes = _HEADS[head]
    outputs = outputs.replace("[1", f"[{batch}")
    sides = f"{batch}, {HEIGHT}, {WIDTH}, 3" if channels_last else f"{batch}, 3, {HEIGHT}, {WIDTH}"
    turned = "images = Transpose <perm = [0, 3, 1, 2]> (given)" if channels_last else "images = Identity (given)"
    if not batch:
        sides = sides.removeprefix(", ")
        turned = "front = Constant <value = int64[1] {0}> ()\n  images = Unsqueeze (given, front)"
    spot = _SPOT.format(peak=peak, objectness=0.0, channels="red_plane, green_plane, blue_plane")
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
spot ({number}[{sides}] given) => ({outputs}) {{
  {turned}
{spot}
{nodes}
}}"""
    model = onnx.parser.parse_model(text)
    names = renamed or {}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path
