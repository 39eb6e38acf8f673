"""Detector: reads a detector's outputs into boxes, polygons and keypoints, in pixels of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framesift.models.onnx import heads, rotated_boxes
from framesift.models.onnx import mask_outlines as outlines
from framesift.models.onnx.family_match import FamilyMatch, GraphFacts
from framesift.models.onnx.onnx_settings import END_TO_END_FAMILIES, ROTATED_FAMILIES, Family
from framesift.models.onnx.preprocessing import PreparedPicture
from framesift.prediction.prediction import Detections, Keypoint, Point, Task, detections_from_arrays, with_origin


class Detector:
    """Reads the outputs of one detector. Thread-safe."""

    def __init__(
        self,
        match: FamilyMatch,
        facts: GraphFacts,
        class_names: tuple[str, ...],
        keypoint_names: tuple[tuple[str, ...], ...],
        confidence: float,
        iou: float,
    ) -> None:
        """match: the network's family. facts: about its input. keypoint_names: by class id, one list for all, or none.

        confidence: objects below it are left out. iou: of two boxes of one class that overlap by more, one is removed.
        """
        self._match = match
        self._facts = facts
        self._class_names = class_names
        self._keypoint_names = keypoint_names
        self._confidence, self._iou = confidence, iou
        self._decode = _decoder(match, facts.height, facts.width)

    @property
    def task(self) -> Task:
        """What kind of predictions it gives."""
        if self._match.has_masks or self._match.family in ROTATED_FAMILIES:
            return Task.INSTANCE_SEGMENTATION
        return Task.KEYPOINT_DETECTION if self._match.keypoints else Task.OBJECT_DETECTION

    def confidences(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """The confidences of all candidates, also the smallest. outputs: as for `read`."""
        return self._decode(outputs, -np.inf).confidences

    def read(self, outputs: Sequence[NDArray[Any]], prepared: PreparedPicture, width: int, height: int) -> Detections:
        """Converts the outputs for one frame. outputs: those of the family, without the batch axis.

        width, height: of the frame in pixels. Raises ValueError or IndexError if the outputs differ from those at
        loading.
        """
        candidates = self._decode(outputs, self._confidence)
        points: list[tuple[Point, ...]] | None = None
        keypoints: list[tuple[Keypoint, ...]] | None = None
        if self._match.family in ROTATED_FAMILIES:
            candidates, points = self._with_corners(candidates, outputs[0], prepared, width, height)
        else:
            candidates = candidates[~self._in_bars(candidates.boxes, prepared.picture_area(width, height))]
            if self._match.family not in END_TO_END_FAMILIES:
                candidates = heads.suppress_overlaps(candidates, self._iou)
        if self._match.has_masks:
            candidates, points = self._with_polygons(candidates, outputs, prepared, width, height)
        elif self._match.keypoints is not None:
            candidates, keypoints = self._with_keypoints(candidates, outputs[0], prepared, self._match.keypoints)
        result = detections_from_arrays(
            prepared.to_picture(candidates.boxes),
            candidates.confidences,
            candidates.class_ids,
            self._class_names,
            width=width,
            height=height,
            task=self.task,
            points=points,
            keypoints=keypoints,
        )
        return with_origin(result, dropped=result.dropped + candidates.dropped)

    def _in_bars(self, boxes: NDArray[np.float64], picture_area: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which boxes lie in the bars beside the picture; these are left out without being counted as errors.

        picture_area: x1, y1, x2, y2 of the picture.
        """
        return _overlaps(boxes, np.array((0, 0, self._facts.width, self._facts.height))) & ~_overlaps(
            boxes, picture_area
        )

    def _with_corners(
        self, candidates: heads.BoxCandidates, output: NDArray[Any], prepared: PreparedPicture, width: int, height: int
    ) -> tuple[heads.BoxCandidates, list[tuple[Point, ...]]]:
        """Those rotated candidates that are in the picture and not suppressed, and the polygon of each.

        The box of a candidate becomes the one around its polygon: around the part of it that is in the picture.
        """
        angles = self._extra_numbers(output, candidates.rows, 1)[:, 0]
        finite = np.flatnonzero(np.isfinite(angles))
        dropped = candidates.dropped + len(angles) - len(finite)
        candidates, angles = replace(candidates[finite], dropped=dropped), angles[finite]
        if self._match.family not in END_TO_END_FAMILIES:
            kept = rotated_boxes.suppress(candidates, angles, self._iou)
            candidates, angles = candidates[kept], angles[kept]
        area = prepared.picture_area(width, height)
        parts = [rotated_boxes.inside(whole, area) for whole in rotated_boxes.corners(candidates.boxes, angles)]
        seen = [place for place, part in enumerate(parts) if len(part)]
        around = [np.concatenate((parts[place].min(axis=0), parts[place].max(axis=0))) for place in seen]
        candidates = replace(candidates[np.array(seen, np.int64)], boxes=np.array(around).reshape(-1, 4))
        points = [tuple(Point(x, y) for x, y in prepared.to_picture(parts[place]).tolist()) for place in seen]
        return candidates, points

    def _with_polygons(
        self,
        candidates: heads.BoxCandidates,
        outputs: Sequence[NDArray[Any]],
        prepared: PreparedPicture,
        width: int,
        height: int,
    ) -> tuple[heads.BoxCandidates, list[tuple[Point, ...]]]:
        """Those candidates that have a mask, and the polygon of each.

        Only the part of a mask inside its box and the picture counts. If nothing is inside, and the box reaches into a
        bar, the whole object lies there.
        """
        picture_area = prepared.picture_area(width, height)
        boxes = np.hstack(
            (
                np.maximum(candidates.boxes[:, :2], picture_area[:2]),
                np.minimum(candidates.boxes[:, 2:], picture_area[2:]),
            )
        )
        is_whole = (boxes == candidates.boxes).all(axis=1)
        dropped = candidates.dropped
        masks = outputs[-1].astype(np.float32, copy=False)
        if self._match.family is Family.TORCHVISION:
            masks = masks[:, 0] - np.float32(0.5)  # these are probabilities
        weights = (
            None
            if self._match.family in (Family.RFDETR, Family.TORCHVISION)
            else self._extra_numbers(outputs[0], candidates.rows, masks.shape[0])
        )
        kept_indices: list[int] = []
        points: list[tuple[Point, ...]] = []
        for index, row in enumerate(candidates.rows):
            logits = masks[row] if weights is None else np.tensordot(weights[index].astype(np.float32), masks, 1)
            corners = outlines.polygon_of_logits(logits, boxes[index], self._facts.height, self._facts.width)
            if corners is not None:
                corners_in_picture = np.clip(prepared.to_picture(corners), 0, (width, height))
                kept_indices.append(index)
                points.append(tuple(Point(x, y) for x, y in corners_in_picture.tolist()))
            elif is_whole[index]:
                dropped += 1
        return replace(candidates[np.array(kept_indices, np.int64)], dropped=dropped), points

    def _with_keypoints(
        self, candidates: heads.BoxCandidates, output: NDArray[Any], prepared: PreparedPicture, shape: tuple[int, int]
    ) -> tuple[heads.BoxCandidates, list[tuple[Keypoint, ...]]]:
        """Those candidates whose keypoints are finite, and their keypoints."""
        count, numbers = shape
        numbers_of = self._extra_numbers(output, candidates.rows, count * numbers).reshape(-1, count, numbers)
        finite = np.flatnonzero(np.isfinite(numbers_of).all(axis=(1, 2)))
        dropped = candidates.dropped + len(numbers_of) - len(finite)
        candidates, numbers_of = replace(candidates[finite], dropped=dropped), numbers_of[finite]
        positions = prepared.to_picture(numbers_of[:, :, :2].reshape(-1, 2 * count)).reshape(-1, count, 2)
        # Keypoints without a confidence of their own count as certain.
        confidences_of = numbers_of[:, :, 2] if numbers == 3 else np.ones(numbers_of.shape[:2])
        keypoints = [
            tuple(
                Keypoint(x, y, confidence, self._keypoint_name(class_id, number), number)
                for number, ((x, y), confidence) in enumerate(zip(xy, confidences, strict=True))
            )
            for xy, confidences, class_id in zip(
                positions.tolist(), confidences_of.tolist(), candidates.class_ids.tolist(), strict=True
            )
        ]
        return candidates, keypoints

    def _extra_numbers(self, output: NDArray[Any], rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """The numbers of each candidate after its classes, shape (n, count)."""
        is_end_to_end = self._match.family in END_TO_END_FAMILIES
        extra = output[rows, 6:] if is_end_to_end else output[4 + (self._match.class_count or 0) :, rows].T
        if extra.shape[1] != count:
            raise ValueError(f"each candidate has {extra.shape[1]} extra numbers, not {count}")
        return extra.astype(np.float64)

    def _keypoint_name(self, class_id: int, number: int) -> str:
        if not self._keypoint_names:
            return f"keypoint_{number}"
        names = self._keypoint_names[class_id if 0 <= class_id < len(self._keypoint_names) else 0]
        return names[number] if number < len(names) else f"keypoint_{number}"


def _overlaps(boxes: NDArray[np.float64], area: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(((boxes[:, 2:] > area[:2]) & (boxes[:, :2] < area[2:])).all(axis=1), np.bool_)


def _decoder(match: FamilyMatch, height: int, width: int) -> heads.HeadDecoder:
    if match.family in (Family.YOLOV8, Family.YOLOV8_SEG, Family.YOLOV8_POSE, Family.YOLOV8_OBB):
        return heads.yolov8(match.class_count or 0)
    if match.family is Family.YOLOV5:
        return heads.yolov5
    if match.family is Family.YOLOX:
        return heads.yolox(height, width, match.strides)
    if match.family is Family.RFDETR:
        return heads.rfdetr(height, width, match.class_count or 0)
    if match.family is Family.SSD:
        return heads.ssd(height, width, match.first_class_id)
    if match.family is Family.RTDETR:
        of_logits = heads.rfdetr(height, width, match.class_count or 0)
        finished = heads.rtdetr_finished
        return {1: heads.rtdetr_table(height, width), 2: of_logits, 3: finished}[len(match.output_indices)]
    if match.family is Family.DETR:
        return heads.detr(height, width)
    if match.family is Family.YOLOV7_END2END:
        return heads.yolov7_end2end
    if match.family is Family.TORCHVISION:
        return heads.torchvision(match.first_class_id)
    return heads.end2end_rotated if match.family is Family.END2END_OBB else heads.end2end
