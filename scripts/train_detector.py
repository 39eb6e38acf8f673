"""Trains the demo's detector on rendered streets and writes daemon/framesift/demo/street.onnx.

The demo's own street is never trained on: its seed and the held-out seeds are apart from those of the training streets.
PyTorch is not among the project's requirements; give it an environment of its own (two cores take about 20 minutes):

    python3 -m venv /tmp/torchenv
    /tmp/torchenv/bin/pip install torch==2.13.0 numpy opencv-python-headless onnx onnxruntime
    PYTHONPATH=daemon /tmp/torchenv/bin/python scripts/train_detector.py

The network is a small anchor-free detector with three levels (strides 8, 16, 32), trained with task-aligned assignment
(Feng et al., TOOD, ICCV 2021), a soft-target cross entropy for the classes and a distance-IoU loss for the boxes (Zheng
et al., AAAI 2020). The file has the layout that Ultralytics exports: `images` (1, 3, 224, 384) RGB from 0 to 1,
letterboxed on grey 114; `output0` (1, 4 + classes, cells): box centre and size in input pixels, then probabilities.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from framesift.demo.scene import CLASS_NAMES, SceneObject, Street
from judge_detector import HEIGHT, STREET_ONNX, WIDTH, evaluate, letterbox

STRIDES = (8, 16, 32)
TRAINING_SEEDS = range(10_000, 20_000)
SMALLEST_VISIBLE = 0.3
MOST_OBJECTS = 40


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shelf:
    """Letterboxed RGB (n, 3, H, W) uint8, and boxes (n, k, 5) as class (-1 for none), x0, y0, x1, y1."""

    pictures: np.ndarray
    boxes: np.ndarray


def compressed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as a camera or a video encoder might hand it over."""
    picture = picture.astype(np.float32)
    picture *= rng.uniform(0.7, 1.25) * rng.uniform(0.92, 1.08, 3).astype(np.float32)
    picture = (picture - 110) * rng.uniform(0.75, 1.2) + 110 + rng.uniform(-12, 12)
    if rng.uniform() < 0.3:
        picture += rng.normal(0, rng.uniform(1, 9), picture.shape).astype(np.float32)
    out = picture.clip(0, 255).astype(np.uint8)
    if rng.uniform() < 0.3:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.1)), np.uint8)
    if rng.uniform() < 0.7:
        ok, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR) if ok else None
        out = out if decoded is None else np.asarray(decoded, np.uint8)
    return out


def cropped(
    picture: np.ndarray, objects: list[tuple[int, float, float, float, float]], rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, float, float, float, float]]]:
    """A random window of the picture, mirrored half of the time, and the objects of which most is still inside."""
    height, width = picture.shape[:2]
    share = rng.uniform(0.62, 1.0) if rng.uniform() < 0.5 else 1.0
    w, h = int(width * share), int(height * share * (rng.uniform(0.85, 1.0) if share < 1 else 1.0))
    x0, y0 = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    mirror = rng.uniform() < 0.5
    window = picture[y0 : y0 + h, x0 : x0 + w]
    kept = []
    for kind, left, top, right, bottom in objects:
        area = (right - left) * (bottom - top)
        left, right = max(left - x0, 0), min(right - x0, w)
        top, bottom = max(top - y0, 0), min(bottom - y0, h)
        if right - left < 2 or bottom - top < 2 or (right - left) * (bottom - top) < 0.3 * area:
            continue
        kept.append((kind, w - right, top, w - left, bottom) if mirror else (kind, left, top, right, bottom))
    return (window[:, ::-1] if mirror else window), kept


def learnable(truth: tuple[SceneObject, ...]) -> list[tuple[int, float, float, float, float]]:
    """Class and corner box of each object that is visible and large enough to learn from."""
    return [
        (
            CLASS_NAMES.index(seen.class_name),
            seen.x - seen.width / 2,
            seen.y - seen.height / 2,
            seen.x + seen.width / 2,
            seen.y + seen.height / 2,
        )
        for seen in truth
        if seen.visible >= SMALLEST_VISIBLE and seen.width >= 4 and seen.height >= 5
    ]


def stock(seed: int, frames_each: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and boxes from one street."""
    rng = np.random.default_rng(seed)
    street = Street(seed, frames=480)
    pictures = np.empty((frames_each, 3, HEIGHT, WIDTH), np.uint8)
    boxes = np.full((frames_each, MOST_OBJECTS, 5), -1, np.float32)
    for row, frame in enumerate(rng.choice(street.frames, frames_each, replace=False)):
        picture, objects = cropped(street.render(int(frame)), learnable(street.truth(int(frame))), rng)
        canvas, scale, left, top = letterbox(compressed(picture, rng))
        for at, (kind, x0, y0, x1, y1) in enumerate(objects[:MOST_OBJECTS]):
            boxes[row, at] = (kind, x0 * scale + left, y0 * scale + top, x1 * scale + left, y1 * scale + top)
        pictures[row] = canvas[:, :, ::-1].transpose(2, 0, 1)
    return pictures, boxes


def fill_shelf(streets: int, frames_each: int, processes: int) -> Shelf:
    """Render the training pictures of a number of streets, in several processes."""
    with ProcessPoolExecutor(processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        parts = list(pool.map(stock, TRAINING_SEEDS[:streets], [frames_each] * streets, chunksize=8))
    return Shelf(np.concatenate([p for p, _ in parts]), np.concatenate([b for _, b in parts]))


# --- network ----------------------------------------------------------------------------------------------------------


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions whose result is added to the input. Shape (b, channels, h, w) stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels // 2), conv(channels // 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Features (b, channels, h, w) in and out."""
        return x + self.body(x)


class Detector(nn.Module):
    """Features at three strides, fused from coarse to fine; two small heads per level."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, stride=2), conv(16, 24, stride=2), Residual(24))
        self.fine = nn.Sequential(conv(24, 48, stride=2), Residual(48), Residual(48))
        self.middle = nn.Sequential(conv(48, 64, stride=2), Residual(64), Residual(64))
        self.coarse = nn.Sequential(conv(64, 64, stride=2), Residual(64))
        self.down = nn.ModuleList([conv(64, 48, 1), conv(64, 48, 1), conv(48, 48, 1)])
        self.mix = nn.ModuleList([Residual(48), Residual(48)])
        self.class_heads = nn.ModuleList([nn.Sequential(conv(48, 24), nn.Conv2d(24, classes, 1)) for _ in STRIDES])
        self.box_heads = nn.ModuleList([nn.Sequential(conv(48, 24), nn.Conv2d(24, 4, 1)) for _ in STRIDES])
        for head, stride in zip(self.class_heads, STRIDES, strict=True):
            nn.init.constant_(head[-1].bias, math.log(5 / classes / (HEIGHT * WIDTH / stride**2)))
        cells, strides = [], []
        for stride in STRIDES:
            rows, columns = HEIGHT // stride, WIDTH // stride
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            cells.append(torch.stack((x.flatten(), y.flatten())).float() * stride + stride / 2)
            strides.append(torch.full((1, rows * columns), float(stride)))
        self.register_buffer("cells", torch.cat(cells, 1), persistent=False)
        self.register_buffer("strides", torch.cat(strides, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (b, classes, cells) and boxes as corners in pixels (b, 4, cells)."""
        fine = self.fine(self.stem(x))
        middle = self.middle(fine)
        coarse = self.down[0](self.coarse(middle))
        middle = self.mix[0](self.down[1](middle) + functional.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.mix[1](self.down[2](fine) + functional.interpolate(middle, scale_factor=2.0, mode="nearest"))
        levels = (fine, middle, coarse)
        logits = torch.cat([head(f).flatten(2) for head, f in zip(self.class_heads, levels, strict=True)], 2)
        raw = torch.cat([head(f).flatten(2) for head, f in zip(self.box_heads, levels, strict=True)], 2)
        reach = functional.softplus(raw) * self.strides * 2
        return logits, torch.cat((self.cells - reach[:, :2], self.cells + reach[:, 2:]), 1)


class Exported(nn.Module):
    """The same network with what the file's readers expect at its end."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        """Images (b, 3, H, W) to predictions (b, 4 + classes, cells): centre, size, probabilities."""
        logits, corners = self.detector(images)
        low, high = corners[:, :2], corners[:, 2:]
        return torch.cat(((low + high) / 2, high - low, torch.sigmoid(logits)), 1)


# --- loss -------------------------------------------------------------------------------------------------------------


def pair_iou(one: Tensor, other: Tensor, distance: bool = False) -> Tensor:
    """IoU of corner boxes (..., 4) that broadcast; less the normalised distance of the centres if asked."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    sizes = (one[..., 2:] - one[..., :2]).prod(-1) + (other[..., 2:] - other[..., :2]).prod(-1)
    iou = shared / (sizes - shared + 1e-7)
    if not distance:
        return iou
    span = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    offset = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    return iou - (offset**2).sum(-1) / ((span**2).sum(-1) + 1e-7)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, cells: Tensor, kinds: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Task-aligned assignment for a batch: which object each cell answers for (-1 none), its boxes, its soft targets.

    scores (b, n, c) probabilities, boxes (b, n, 4), cells (n, 2), kinds (b, k) with -1 for padding, truth (b, k, 4).
    """
    real = kinds >= 0
    centre = (truth[..., :2] + truth[..., 2:]) / 2
    # A small object may lie between the centres of cells: it is given at least a cell's room to be found in.
    half = ((truth[..., 2:] - truth[..., :2]) / 2).clamp(min=6.0)
    inside = ((cells[None, None] - centre[:, :, None]).abs() < half[:, :, None]).all(-1) & real[..., None]
    overlap = pair_iou(truth[:, :, None], boxes[:, None]) * inside
    of_kind = scores.transpose(1, 2).gather(1, kinds.clamp(min=0)[..., None].expand(-1, -1, scores.shape[1]))
    metric = of_kind.sqrt() * overlap**6
    # Before boxes overlap at all, nearness decides.
    near = 1e-9 / (1 + (cells[None, None] - centre[:, :, None]).pow(2).sum(-1))
    ranked = (metric + near) * inside
    best = ranked.topk(10, dim=2).indices
    chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
    owner_overlap = torch.where(chosen, overlap + 1e-6, torch.zeros_like(overlap))
    owner = owner_overlap.argmax(1)
    owned = chosen.any(1)
    metric = metric * chosen
    peak_metric = metric.amax(2, keepdim=True)
    peak_overlap = (overlap * chosen).amax(2, keepdim=True)
    soft = (metric / (peak_metric + 1e-9) * peak_overlap).gather(1, owner[:, None])[:, 0]
    targets = torch.zeros_like(scores)
    kind = kinds.clamp(min=0).gather(1, owner)
    targets.scatter_(2, kind[..., None], (soft * owned)[..., None])
    return (
        torch.where(owned, owner, torch.full_like(owner, -1)),
        truth.gather(1, owner[..., None].expand(-1, -1, 4)),
        targets,
    )


def loss_of(detector: Detector, logits: Tensor, corners: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the classes and of the boxes. rows: class (-1 for none) and corner box, (b, k, 5)."""
    logits, corners = logits.transpose(1, 2), corners.transpose(1, 2)
    owner, wanted, targets = assign(logits.sigmoid(), corners, detector.cells.T, rows[..., 0].long(), rows[..., 1:])
    total = targets.sum().clamp(min=1.0)
    classes = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / total
    held = owner >= 0
    weight = targets.sum(-1)[held]
    boxes = ((1 - pair_iou(corners[held], wanted[held], distance=True)) * weight).sum() / total
    return classes, boxes


# --- training ---------------------------------------------------------------------------------------------------------


def train(shelf: Shelf, steps: int, batch: int, log: Path) -> Detector:
    """Trains for a number of batches; what is returned is a running mean of the weights."""
    detector = Detector(len(CLASS_NAMES))
    averaged = Detector(len(CLASS_NAMES))
    averaged.load_state_dict(detector.state_dict())
    decayed = [p for p in detector.parameters() if p.ndim > 1]
    plain = [p for p in detector.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}])
    detector.to(memory_format=torch.channels_last)
    began, order = time.monotonic(), np.array([], int)
    rng = np.random.default_rng(1)
    for step in range(steps):
        if len(order) < batch:
            order = rng.permutation(len(shelf.pictures))
        chosen, order = order[:batch], order[batch:]
        pictures = torch.from_numpy(shelf.pictures[chosen]).to(memory_format=torch.channels_last).float() / 255
        rate = 3e-3 * min((step + 1) / 60, 1.0) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits, corners = detector(pictures)
        rows = shelf.boxes[chosen]
        most = max(int((rows[..., 0] >= 0).sum(1).max()), 1)
        classes, boxes = loss_of(detector, logits, corners, torch.from_numpy(rows[:, :most]))
        optimizer.zero_grad(set_to_none=True)
        (classes + 3 * boxes).backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        keep = min(0.998, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, now in zip(averaged.state_dict().values(), detector.state_dict().values(), strict=True):
                mean.mul_(keep).add_(now, alpha=1 - keep) if mean.is_floating_point() else mean.copy_(now)
        if step % 20 == 0:
            line = f"{time.monotonic() - began:7.1f} s  step {step:5d}  classes {classes:.3f}  boxes {boxes:.3f}"
            with log.open("a") as out:
                print(line, file=out)
    print(f"{steps} steps in {time.monotonic() - began:.0f} s, {steps * batch / len(shelf.pictures):.1f} rounds")
    averaged.eval()
    return averaged


def export(detector: Detector, path: Path) -> None:
    """Write the network to an ONNX file, with the metadata that its readers use."""
    example = torch.zeros(1, 3, HEIGHT, WIDTH)
    torch.onnx.export(
        Exported(detector).eval(),
        (example,),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(str(path))
    metadata = {
        "names": str(dict(enumerate(CLASS_NAMES))),
        "task": "detect",
        "imgsz": str([HEIGHT, WIDTH]),
        "stride": str(max(STRIDES)),
        "batch": "1",
        "author": "framesift",
        "description": "framesift demo detector, trained on rendered streets (scripts/train_detector.py)",
        "license": "Apache-2.0",
    }
    onnx.helper.set_model_props(model, metadata)
    model.producer_name, model.doc_string = "framesift", metadata["description"]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    kinds = sorted({node.op_type for node in model.graph.node})
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, operators {', '.join(kinds)}")


def main() -> None:
    """Render, train, export, and judge the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1800, help="how many batches to learn from")
    parser.add_argument("--streets", type=int, default=500, help="how many training streets")
    parser.add_argument("--frames", type=int, default=8, help="pictures from each street")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir(), "train_detector.log"))
    parser.add_argument("--out", type=Path, default=STREET_ONNX)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    began = time.monotonic()
    shelf = fill_shelf(asked.streets, asked.frames, asked.threads)
    print(f"{len(shelf.pictures)} pictures rendered in {time.monotonic() - began:.0f} s", flush=True)
    detector = train(shelf, asked.steps, asked.batch, asked.log)
    print(f"{sum(p.numel() for p in detector.parameters())} weights")
    export(detector, asked.out)
    evaluate(asked.out)


if __name__ == "__main__":
    main()
