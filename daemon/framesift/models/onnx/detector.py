"""What a detector's outputs say of a frame: boxes, and the outlines or keypoints of what is in them, in its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.models.onnx import heads
from framesift.models.onnx import mask_outlines as outlines
from framesift.models.onnx.families import FamilyMatch, GraphFacts
from framesift.models.onnx.onnx_settings import END_TO_END_FAMILIES, Family
from framesift.models.onnx.preprocessing import PreparedPicture
from framesift.prediction.prediction import Detections, Keypoint, Point, Task, detections_from_arrays


class Detector:
    """fit: the network's family. seen: of its input. keypoint_names: by class id, or one list for
    all classes, or none. confidence: the least that is wanted. iou: of boxes that say the same twice.
    """

    def __init__(
        self,
        fit: FamilyMatch,
        seen: GraphFacts,
        class_names: tuple[str, ...],
        keypoint_names: tuple[tuple[str, ...], ...],
        confidence: float,
        iou: float,
    ) -> None:
        self._fit = fit
        self._seen = seen
        self._class_names = class_names
        self._keypoint_names = keypoint_names
        self._confidence, self._iou = confidence, iou
        self._reader = _reader(fit, seen.height, seen.width)

    @property
    def task(self) -> Task:
        if self._fit.has_masks:
            return Task.INSTANCE_SEGMENTATION
        return Task.KEYPOINT_DETECTION if self._fit.keypoints else Task.OBJECT_DETECTION

    def confidences(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Of all candidates there are, however little they are worth."""
        return self._reader(outputs, -np.inf).confidences

    def read(self, outputs: Sequence[NDArray[Any]], prepared: PreparedPicture, width: int, height: int) -> Detections:
        """outputs: those of the family, without the batch's dimension. width, height: of the frame, in pixels. Raises
        ValueError, IndexError where they aren't what they were when the network was loaded.
        """
        found = self._reader(outputs, self._confidence)
        found = found[~self._in_bars(found.boxes, prepared.picture_area(width, height))]
        if self._fit.family not in END_TO_END_FAMILIES:
            found = heads.suppress_overlaps(found, self._iou)
        points: list[tuple[Point, ...]] | None = None
        keypoints: list[tuple[Keypoint, ...]] | None = None
        if self._fit.has_masks:
            found, points = self._outlined(found, outputs, prepared, width, height)
        elif self._fit.keypoints is not None:
            found, keypoints = self._jointed(found, outputs[0], prepared, self._fit.keypoints)
        good = detections_from_arrays(
            prepared.to_picture(found.boxes),
            found.confidences,
            found.class_ids,
            self._class_names,
            width=width,
            height=height,
            task=self.task,
            points=points,
            keypoints=keypoints,
        )
        return replace(good, dropped_count=good.dropped_count + found.dropped)

    def _in_bars(self, boxes: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which boxes lie in the bars beside the picture: they are no fault of the network's, and nobody's interest.
        inside: x1, y1, x2, y2 of the picture.
        """
        return _overlap(boxes, np.array((0, 0, self._seen.width, self._seen.height))) & ~_overlap(boxes, inside)

    def _outlined(
        self,
        found: heads.BoxCandidates,
        outputs: Sequence[NDArray[Any]],
        prepared: PreparedPicture,
        width: int,
        height: int,
    ) -> tuple[heads.BoxCandidates, list[tuple[Point, ...]]]:
        """Those that have a mask, and its polygon. Of a mask, only what is inside its box and the picture counts; where
        nothing is, and the box reaches into a bar, all of it lies there.
        """
        inside = prepared.picture_area(width, height)
        boxes = np.hstack((np.maximum(found.boxes[:, :2], inside[:2]), np.minimum(found.boxes[:, 2:], inside[2:])))
        whole = (boxes == found.boxes).all(axis=1)
        dropped = found.dropped
        masks = outputs[-1].astype(np.float32, copy=False)
        shares = None if self._fit.family is Family.RFDETR else self._more(outputs[0], found.rows, masks.shape[0])
        kept: list[int] = []
        points: list[tuple[Point, ...]] = []
        for index, row in enumerate(found.rows):
            logits = masks[row] if shares is None else np.tensordot(shares[index].astype(np.float32), masks, 1)
            corners = outlines.polygon_of_logits(logits, boxes[index], self._seen.height, self._seen.width)
            if corners is not None:
                there = np.clip(prepared.to_picture(corners), 0, (width, height))
                kept.append(index)
                points.append(tuple(Point(x, y) for x, y in there.tolist()))
            elif whole[index]:
                dropped += 1
        return replace(found[np.array(kept, np.int64)], dropped=dropped), points

    def _jointed(
        self, found: heads.BoxCandidates, output: NDArray[Any], prepared: PreparedPicture, shape: tuple[int, int]
    ) -> tuple[heads.BoxCandidates, list[tuple[Keypoint, ...]]]:
        """Those whose keypoints are numbers, and their keypoints."""
        count, numbers = shape
        said = self._more(output, found.rows, count * numbers).reshape(-1, count, numbers)
        finite = np.flatnonzero(np.isfinite(said).all(axis=(1, 2)))
        dropped = found.dropped + len(said) - len(finite)
        found, said = replace(found[finite], dropped=dropped), said[finite]
        places = prepared.to_picture(said[:, :, :2].reshape(-1, 2 * count)).reshape(-1, count, 2)
        # Without a confidence of their own, keypoints are where they are.
        sure = said[:, :, 2] if numbers == 3 else np.ones(said.shape[:2])
        keypoints = [
            tuple(
                Keypoint(x, y, confidence, self._keypoint_name(class_id, number), number)
                for number, ((x, y), confidence) in enumerate(zip(xy, confidences, strict=True))
            )
            for xy, confidences, class_id in zip(places.tolist(), sure.tolist(), found.class_ids.tolist(), strict=True)
        ]
        return found, keypoints

    def _more(self, output: NDArray[Any], rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """What is said of candidates after their classes, shape (n, count)."""
        done = self._fit.family in END_TO_END_FAMILIES
        more = output[rows, 6:] if done else output[4 + (self._fit.class_count or 0) :, rows].T
        if more.shape[1] != count:
            raise ValueError(f"{more.shape[1]} numbers are said of each candidate, not {count}")
        return more.astype(np.float64)

    def _keypoint_name(self, class_id: int, number: int) -> str:
        if not self._keypoint_names:
            return f"keypoint_{number}"
        names = self._keypoint_names[class_id if 0 <= class_id < len(self._keypoint_names) else 0]
        return names[number] if number < len(names) else f"keypoint_{number}"


def _overlap(boxes: NDArray[np.float64], area: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(((boxes[:, 2:] > area[:2]) & (boxes[:, :2] < area[2:])).all(axis=1), np.bool_)


def _reader(fit: FamilyMatch, height: int, width: int) -> heads.HeadDecoder:
    if fit.family in (Family.YOLOV8, Family.YOLOV8_SEG, Family.YOLOV8_POSE):
        return heads.yolov8(fit.class_count or 0)
    if fit.family is Family.YOLOV5:
        return heads.yolov5
    if fit.family is Family.YOLOX:
        return heads.yolox(height, width, fit.strides)
    if fit.family is Family.RFDETR:
        return heads.rfdetr(height, width, fit.class_count or 0)
    if fit.family is Family.SSD:
        return heads.ssd(height, width, fit.first_class_id)
    return heads.end2end
