"""Small networks whose truth is known, written as ONNX files.

`constant` gives the same answer to every picture. `spotting` finds what is red or blue in a grey picture, and reports
it in the layout of a family's head: a picture that was prepared wrongly (bars, colours, range) shows as a wrong box,
class or confidence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from framesift.clock.moment import Moment
from framesift.frame import Frame, Pixels

HEIGHT, WIDTH = 192, 320  # of the spotting network's input
STRIDES = (8, 16, 32)
OBJECTNESS = 0.8
SPOT_NAMES = ("red", "blue")


def frame(pixels: Pixels, number: int = 0, stream: str = "gate") -> Frame:
    return Frame(stream=stream, number=number, picture=pixels, captured=Moment(0.0, 0.0, "boot"))


def blank(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), 90, np.uint8)


def cells(height: int, width: int, strides: tuple[int, ...] = STRIDES) -> int:
    return sum((height // stride) * (width // stride) for stride in strides)


def constant(
    path: Path,
    *outputs: NDArray[np.generic],
    size: tuple[int | str, int | str] = (64, 64),
    channels: int = 3,
    batch: int | str = 1,
    input_type: int = onnx.TensorProto.FLOAT,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A network that answers with `outputs`, named output0, output1, ..."""
    named = {f"output{i}": values for i, values in enumerate(outputs)}
    picture = helper.make_tensor_value_info("images", input_type, [batch, channels, *size])
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(values)))
        for name, values in named.items()
    ]
    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), None)
        for name, values in named.items()
    ]
    return _save(path, helper.make_graph(nodes, "constant", [picture], declared), metadata)


# Of each picture of a batch by itself: what has one value per picture has the shape (pictures, 1).
_SPOT = """
  one = Constant <value = int64[1] {{1}}> ()
  parts = Constant <value = int64[3] {{1, 1, 1}}> ()
  half = Constant <value = float[1] {{0.5}}> ()
  least = Constant <value = float {{0.0}}> ()
  most = Constant <value = float {{1.0}}> ()
  peak = Constant <value = float[1] {{{peak}}}> ()
  picture = Cast <to = 1> (images)
  {channels} = Split <axis = 1> (picture, parts)
  redder = Sub (red_plane, blue_plane)
  bluer = Sub (blue_plane, red_plane)
  strength = Abs (redder)
  strongest = ReduceMax <axes = [1, 2, 3], keepdims = 1> (strength)
  limit = Mul (strongest, half)
  inside = GreaterOrEqual (strength, limit)
  mask = Cast <to = 1> (inside)
  columns = ReduceMax <axes = [1, 2], keepdims = 0> (mask)
  rows = ReduceMax <axes = [1, 3], keepdims = 0> (mask)
  left = ArgMax <axis = 1> (columns)
  last_column = ArgMax <axis = 1, select_last_index = 1> (columns)
  right = Add (last_column, one)
  top = ArgMax <axis = 1> (rows)
  last_row = ArgMax <axis = 1, select_last_index = 1> (rows)
  bottom = Add (last_row, one)
  x1 = Cast <to = 1> (left)
  x2 = Cast <to = 1> (right)
  y1 = Cast <to = 1> (top)
  y2 = Cast <to = 1> (bottom)
  w = Sub (x2, x1)
  h = Sub (y2, y1)
  twice_x = Add (x1, x2)
  twice_y = Add (y1, y2)
  x = Mul (twice_x, half)
  y = Mul (twice_y, half)
  red_most = ReduceMax <axes = [1, 2, 3], keepdims = 0> (redder)
  red_share = Div (red_most, peak)
  red_clipped = Clip (red_share, least, most)
  red = Unsqueeze (red_clipped, one)
  blue_most = ReduceMax <axes = [1, 2, 3], keepdims = 0> (bluer)
  blue_share = Div (blue_most, peak)
  blue_clipped = Clip (blue_share, least, most)
  blue = Unsqueeze (blue_clipped, one)
  zero = Sub (x1, x1)
  objectness_said = Constant <value = float[1] {{{objectness}}}> ()
  objectness = Add (objectness_said, zero)
"""

_ROWS = {
    "yolov8": "row = Concat <axis = 1> (x, y, w, h, red, blue)",
    "yolov5": "row = Concat <axis = 1> (x, y, w, h, objectness, red, blue)",
    "end2end": """
  confidence = Max (red, blue)
  is_blue = Greater (blue, red)
  class = Cast <to = 1> (is_blue)
  row = Concat <axis = 1> (x1, y1, x2, y2, confidence, class)""",
    "yolox": """
  stride = Constant <value = float[1] {{16.0}}> ()
  cell_x = Constant <value = float[1] {{3.0}}> ()
  cell_y = Constant <value = float[1] {{2.0}}> ()
  strides_x = Div (x, stride)
  strides_y = Div (y, stride)
  strides_w = Div (w, stride)
  strides_h = Div (h, stride)
  raw_x = Sub (strides_x, cell_x)
  raw_y = Sub (strides_y, cell_y)
  raw_w = Log (strides_w)
  raw_h = Log (strides_h)
  row = Concat <axis = 1> (raw_x, raw_y, raw_w, raw_h, objectness, red, blue)""",
}


def spotting(
    path: Path,
    family: str,
    *,
    bgr: bool = False,
    peak: float = 1.0,
    half: bool = False,
    batch: str = "1",
    metadata: dict[str, str] | None = None,
) -> Path:
    """A detector of what is red (class 0) or blue (class 1), for pictures of HEIGHT x WIDTH.

    bgr: the order of its channels (otherwise RGB). peak: how much red less blue there is in pure red, in the range that
    the network expects: the confidence is a share of it. half: the input is in half precision. batch: how many pictures
    it takes; a name for any number.
    """
    grid = cells(HEIGHT, WIDTH)
    # The yolox candidate lies in the second level (stride 16), third row, fourth column.
    before = cells(HEIGHT, WIDTH, (8,)) + 2 * (WIDTH // 16) + 3 if family == "yolox" else 5
    columns = {"yolov8": 6, "yolov5": 7, "end2end": 6, "yolox": 7}[family]
    count = {"yolov8": grid, "yolov5": 3 * grid, "end2end": 300, "yolox": grid}[family]
    shape = (batch, columns, count) if family == "yolov8" else (batch, count, columns)
    one = f"-1, {columns}, 1" if family == "yolov8" else f"-1, 1, {columns}"
    pads = (
        f"0, 0, {before}, 0, 0, {count - before - 1}"
        if family == "yolov8"
        else (f"0, {before}, 0, 0, {count - before - 1}, 0")
    )
    channels = ("red_plane", "green_plane", "blue_plane")[:: -1 if bgr else 1]
    precision = "float16" if half else "float"
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
spot ({precision}[{batch}, 3, {HEIGHT}, {WIDTH}] images) => (float[{", ".join(map(str, shape))}] output0) {{
{_SPOT.format(peak=peak, objectness=OBJECTNESS, channels=", ".join(channels))}
{_ROWS[family].format()}
  single = Constant <value = int64[3] {{{one}}}> ()
  pads = Constant <value = int64[6] {{{pads}}}> ()
  candidate = Reshape (row, single)
  output0 = Pad (candidate, pads)
}}"""
    return _save(path, onnx.parser.parse_model(text), metadata)


def averaging(path: Path, metadata: dict[str, str] | None = None, *, batch: str = "1", flat: bool = False) -> Path:
    """A classifier of the mean of each channel, 32 x 32; its output is (1, 3, 1, 1). batch: as of `spotting`. flat: it
    is (1, 3), and of several pictures there is none."""
    shape, last = ("1, 3", "Reshape (means, sides)") if flat else (f"{batch}, 3, 1, 1", "Identity (means)")
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
mean (float[{batch}, 3, 32, 32] images) => (float[{shape}] output0) {{
  sides = Constant <value = int64[2] {{1, 3}}> ()
  means = GlobalAveragePool (images)
  output0 = {last}
}}"""
    return _save(path, onnx.parser.parse_model(text), metadata)


def counting(path: Path) -> Path:
    """A classifier of two classes, 32 x 32, for any number of pictures: the first class's confidence is one by the
    number of pictures that it was given at once. It takes a few milliseconds."""
    text = """<ir_version: 9, opset_import: ["" : 17]>
count (float[n, 3, 32, 32] images) => (float[n, 2] output0) {
  pictures = Shape <start = 0, end = 1> (images)
  number = Cast <to = 1> (pictures)
  share = Reciprocal (number)
  one = Constant <value = float[1] {1.0}> ()
  rest = Sub (one, share)
  both = Concat <axis = 0> (share, rest)
  mean = ReduceMean <keepdims = 0> (images)
  sides = Constant <value = int64[2] {500, 500}> ()
  square = Expand (mean, sides)
  work = MatMul (square, square)
  worked = ReduceMean <keepdims = 0> (work)
  never = Constant <value = float {0.0}> ()
  nothing = Mul (worked, never)
  two = Constant <value = int64[1] {2}> ()
  shape = Concat <axis = 0> (pictures, two)
  each = Expand (both, shape)
  output0 = Add (each, nothing)
}"""
    return _save(path, onnx.parser.parse_model(text), None)


def _save(path: Path, graph: onnx.GraphProto | onnx.ModelProto, metadata: dict[str, str] | None) -> Path:
    if isinstance(graph, onnx.ModelProto):
        model = graph
    else:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path
