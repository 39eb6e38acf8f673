"""Telling a network's family by the shape of its output, and refusing a family that does not fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from framesift.models.model import ModelUnusable
from framesift.models.onnx_options import Family

_STRIDES = (4, 8, 16, 32, 64)
_MOST_END2END = 1000
_FORMS = {
    Family.YOLOV8: "(1, 4 + classes, N)",
    Family.YOLOV5: "(1, N, 5 + classes), three candidates a cell",
    Family.END2END: f"(1, N, 6) with N up to {_MOST_END2END}",
    Family.YOLOX: "(1, N, 5 + classes), one candidate a cell",
    Family.CLASSIFIER: "(1, classes)",
}


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a network, as it was for a picture of the input's size."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fitted:
    """classes: how many the output speaks of, None where its shape does not tell. strides: of a yolox grid."""

    family: Family
    classes: int | None
    strides: tuple[int, ...] = ()


def fitted(
    asked: Family, outputs: Sequence[Output], height: int, width: int, names: int | None, may_be_single: bool = False
) -> Fitted:
    """The family of a network, and what its output's shape tells.

    asked: a family, which must fit, or auto. height, width: of the input in pixels. names: how many class names are
    known. may_be_single: a classifier of a single class makes sense. Raises ModelUnusable that shows the shapes.
    """
    shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    heads = f"The outputs for an input of {height} x {width} are {shapes}"
    known = "" if names is None else f", with {names} class names"
    shape = outputs[0].shape
    if asked is not Family.AUTO:
        fit = _fit(asked, shape, height, width, may_be_single)
        if fit is None:
            raise ModelUnusable(f"model.family: {asked} does not fit. {heads}; {asked} means {_FORMS[asked]}")
        if names is not None and fit.classes not in (None, names):
            raise ModelUnusable(f"model.family: {asked} would read {fit.classes} classes{known}. {heads}")
        return fit
    candidates = [] if len(outputs) > 1 else [_fit(family, shape, height, width, may_be_single) for family in _FORMS]
    fits = [fit for fit in candidates if fit is not None]
    agreeing = [fit for fit in fits if names is None or fit.classes in (None, names)]
    if len(agreeing) == 1:
        return agreeing[0]
    if agreeing:
        raise ModelUnusable(
            f"model.family: auto can't tell {' from '.join(str(fit.family) for fit in agreeing)}. {heads}{known}. "
            "Name the right one"
        )
    read = ", ".join(f"{fit.classes} classes as {fit.family}" for fit in fits)
    raise ModelUnusable(
        f"model.family: auto finds no family that fits{known}. {heads}{f' ({read})' if read else ''}. "
        f"Known are {', '.join(f'{family} {form}' for family, form in _FORMS.items())}"
    )


def _fit(family: Family, shape: tuple[int, ...], height: int, width: int, may_be_single: bool) -> Fitted | None:
    if family is Family.CLASSIFIER:
        # Some exporters leave the pooled picture's 1 x 1 behind.
        flat = len(shape) >= 2 and shape[0] == 1 and all(side == 1 for side in shape[2:])
        return Fitted(family, shape[1]) if flat and shape[1] >= (1 if may_be_single else 2) else None
    if len(shape) != 3 or shape[0] != 1:
        return None
    _, rows, columns = shape
    grids = _grids(height, width)
    if family is Family.YOLOV8 and rows > 4 and columns in grids:
        return Fitted(family, rows - 4)
    if family is Family.YOLOV5 and columns > 5 and rows % 3 == 0 and rows // 3 in grids:
        return Fitted(family, columns - 5)
    if family is Family.YOLOX and columns > 5 and rows in grids:
        return Fitted(family, columns - 5, grids[rows])
    if family is Family.END2END and columns == 6 and rows <= _MOST_END2END:
        return Fitted(family, None)
    return None


def _grids(height: int, width: int) -> dict[int, tuple[int, ...]]:
    """Number of cells -> strides of the levels that have them, for every run of two and more neighbouring strides.

    Single levels are left out: 10 x 10 cells of stride 64 times three look like the 300 boxes of an end-to-end head.
    """
    grids: dict[int, tuple[int, ...]] = {}
    for first in range(len(_STRIDES)):
        for last in range(first + 1, len(_STRIDES)):
            strides = _STRIDES[first : last + 1]
            cells = sum(-(-height // stride) * -(-width // stride) for stride in strides)
            # Three levels are usual, and keep their place should a small input make two runs equal.
            if cells not in grids or strides == (8, 16, 32):
                grids[cells] = strides
    return grids
