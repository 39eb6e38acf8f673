"""Small networks of random weights, exported by the programs that `compare_exporters.py` compares.

Random weights make confidences that are all alike. So each network is run on the pictures once, and the last layers of
its head are scaled and shifted, such that their numbers have a spread of 1 and a mean under which some objects pass the
threshold. Each exporter is imported where it is used, so that one needs only those that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from framesift.frame import Pixels

CONFIDENCE, IOU = 0.25, 0.45
SIZES = ((480, 640), (1080, 1920), (640, 640), (1280, 720), (333, 500), (150, 401))  # height, width


@dataclass(frozen=True)
class Thing:
    """An object that one of both found. box: x1, y1, x2, y2 in pixels of the picture; None of a label."""

    class_id: int
    confidence: float
    box: tuple[float, ...] | None = None
    mask: Any = None
    keypoints: Any = None


OwnInference = Callable[[Pixels], list[Thing]]


@dataclass(frozen=True)
class Exporter:
    """How a network is made and exported to a path; that gives the exporter's own inference.

    package: for its version. settings: of the onnx model. any_size: the file is loaded for the size of each picture.
    """

    package: str
    export: Callable[[Path], OwnInference]
    settings: dict[str, Any] = field(default_factory=dict)
    any_size: bool = False


def pictures() -> list[Pixels]:
    """Pictures of different shapes, with soft and hard edges at all sizes."""
    made = []
    for seed, (height, width) in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        picture = np.zeros((height, width, 3), np.float32)
        for cells in (3, 12, 48):
            coarse = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
            picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 3
        for _ in range(40):
            x, y = rng.uniform(0, (width, height)).astype(int).tolist()
            w, h = rng.uniform(5, (width / 3, height / 3)).astype(int).tolist()
            colour = rng.uniform(0, 255, 3).tolist()
            if rng.uniform() < 0.5:
                cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
            else:
                cv2.ellipse(picture, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1)
        made.append(picture.clip(0, 255).astype(np.uint8))
    return made


def spread_out(layers: Iterable[Any], run: Callable[[], Any], mean: float, spread: float = 1.0) -> None:
    """Scales layers (convolutions, linear ones), so that what each gives while `run` has this mean and spread."""
    import torch

    for layer in layers:
        seen: list[Any] = []
        hook = layer.register_forward_hook(
            lambda _layer, _given, output, seen=seen: seen.append(output.detach().flatten())
        )
        with torch.no_grad():
            run()
        hook.remove()
        if not seen:  # some decoders use one of their heads alone
            continue
        values = torch.cat(seen)
        factor = spread / float(values.std().clamp(min=1e-6))
        layer.weight.data *= factor
        layer.bias.data = (layer.bias.data - float(values.mean())) * factor + mean


def settle(network: Any, run: Callable[[], Any]) -> None:
    """Sets the statistics of batch normalisation to those of what the network sees while `run`."""
    import torch

    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.reset_running_stats()
        layer.train()
        layer.momentum = None
    with torch.no_grad():
        run()
    network.eval()


def ultralytics(config: str, classes: int = 5, **options: Any) -> Callable[[Path], OwnInference]:
    """A network of this configuration; its own program reads the exported file."""

    def export(path: Path) -> OwnInference:
        import torch
        from ultralytics import YOLO

        torch.manual_seed(0)
        yolo = YOLO(config, verbose=False)
        if yolo.task != "classify":
            yolo.model = type(yolo.model)(config, nc=classes, verbose=False)
            yolo.model.task = yolo.task
            yolo.model.names = {number: f"name_{number}" for number in range(classes)}
        network = yolo.model.eval()
        if options.get("nms") is False:
            network.end2end = True
        size = options.get("imgsz", 320)
        batch = torch.from_numpy(
            np.stack([cv2.resize(p, (size, size))[:, :, ::-1].transpose(2, 0, 1) / np.float32(255) for p in pictures()])
        )
        settle(network, lambda: network(batch))
        head = network.model[-1]
        prefix = "one2one_" if getattr(head, "end2end", False) else ""
        if hasattr(head, "cv3"):
            spread_out([b[-1] for b in getattr(head, prefix + "cv3")], lambda: network(batch), -3.0)
            spread_out([b[-1] for b in getattr(head, prefix + "cv2")], lambda: network(batch), 1.0)
            parts = getattr(head, prefix + "cv4", None) or []
            spread_out([b[-1] for b in parts if hasattr(b[-1], "weight")], lambda: network(batch), 0.0)
        else:
            spread_out([head.linear], lambda: network(batch), 0.0)
        file = path.with_suffix(".pt")
        yolo.save(file)
        written = YOLO(file).export(format="onnx", imgsz=size, verbose=False, conf=CONFIDENCE, iou=IOU, **options)
        assert Path(written) == path
        own = YOLO(path, task=yolo.task)

        def infer(pixels: Pixels) -> list[Thing]:
            result = own.predict(
                pixels, imgsz=size, conf=CONFIDENCE, iou=IOU, max_det=1000, retina_masks=True, verbose=False
            )[0]
            if result.probs is not None:
                return [Thing(int(c), float(result.probs.data[c])) for c in result.probs.top5]
            rows = range(len(result.boxes))
            masks = [None for _ in rows] if result.masks is None else [m.numpy() > 0 for m in result.masks.data]
            keypoints = [None for _ in rows] if result.keypoints is None else list(result.keypoints.xy.numpy())
            return [
                Thing(int(box.cls), float(box.conf), tuple(box.xyxy[0].tolist()), mask, points)
                for box, mask, points in zip(result.boxes, masks, keypoints, strict=True)
            ]

        return infer

    return export


def torchvision(name: str, layers: Sequence[str], **options: Any) -> Callable[[Path], OwnInference]:
    """A detector of torchvision, which resizes the pictures itself. layers: the last ones, by which it scores."""

    def export(path: Path) -> OwnInference:
        import torch
        from torchvision.models import detection

        torch.manual_seed(0)
        network = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=6, **options).eval()
        given = [torch.from_numpy(np.ascontiguousarray(p[:, :, ::-1].transpose(2, 0, 1))) / 255 for p in pictures()]
        settle(network, lambda: network(given))
        spread_out([network.get_submodule(layer) for layer in layers], lambda: network(given), -2.0)
        axes = {"given": {1: "height", 2: "width"}}
        torch.onnx.export(network, ([given[0]],), path, input_names=["given"], dynamic_axes=axes, dynamo=False)

        def infer(pixels: Pixels) -> list[Thing]:
            picture = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))) / 255
            with torch.no_grad():
                found = {key: values.numpy() for key, values in network([picture])[0].items()}
            masks = found.get("masks")
            return [
                Thing(int(label) - 1, float(score), tuple(box.tolist()), None if masks is None else masks[row, 0] > 0.5)
                for row, (label, score, box) in enumerate(
                    zip(found["labels"], found["scores"], found["boxes"], strict=True)
                )
                if score >= CONFIDENCE
            ]

        return infer

    return export


def transformers(kind: str) -> Callable[[Path], OwnInference]:
    """A small detector of this kind. The image processor of transformers prepares pictures and reads outputs."""

    def export(path: Path) -> OwnInference:
        import torch
        import transformers as library

        torch.manual_seed(0)
        backbone = library.RTDetrResNetConfig(
            embedding_size=16,
            hidden_sizes=[16, 32, 48, 64],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        )
        sizes = {"d_model": 64, "encoder_hidden_dim": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
        layers = {"decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_queries": 50}
        channels = {"encoder_in_channels": [32, 48, 64], "decoder_in_channels": [64, 64, 64]}
        config = getattr(library, f"{kind}Config")(
            num_labels=5, num_denoising=0, backbone_config=backbone, **sizes, **layers, **channels
        )
        network = getattr(library, f"{kind}ForObjectDetection")(config).eval()
        processor = library.RTDetrImageProcessor(size={"height": 320, "width": 320})

        def prepared(pixels: Pixels) -> Any:
            return processor(images=np.ascontiguousarray(pixels[:, :, ::-1]), return_tensors="pt")["pixel_values"]

        batch = torch.cat([prepared(p) for p in pictures()])
        spread_out([network.model.enc_score_head, *network.model.decoder.class_embed], lambda: network(batch), -1.5)

        class Outputs(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, pixel_values: Any) -> Any:
                outputs = self.network(pixel_values)
                return outputs.logits, outputs.pred_boxes

        names = ["logits", "pred_boxes"]
        torch.onnx.export(
            Outputs().eval(),
            (batch[:1],),
            path,
            input_names=["pixel_values"],
            output_names=names,
            dynamo=False,
            opset_version=17,
        )

        def infer(pixels: Pixels) -> list[Thing]:
            with torch.no_grad():
                outputs = network(prepared(pixels))
            found = processor.post_process_object_detection(outputs, CONFIDENCE, [pixels.shape[:2]])[0]
            return things(pixels, found["labels"], found["scores"], found["boxes"])

        return infer

    return export


def things(pixels: Pixels, class_ids: Any, confidences: Any, boxes: Any) -> list[Thing]:
    """Objects from arrays of a length, as far as they are in the picture. boxes: (n, 4)."""
    height, width = pixels.shape[:2]
    inside = np.asarray(boxes, np.float64).reshape(-1, 4).clip(0, (width, height) * 2).tolist()
    return [Thing(int(c), float(p), tuple(box)) for c, p, box in zip(class_ids, confidences, inside, strict=True)]


def yolox(path: Path) -> OwnInference:
    """YOLOX nano; its own functions prepare the pictures, and read the outputs."""
    import torch
    from yolox.data.data_augment import preproc
    from yolox.exp import get_exp
    from yolox.utils import postprocess

    torch.manual_seed(0)
    experiment = get_exp(None, "yolox-nano")
    experiment.num_classes, size = 5, (320, 320)
    network = experiment.get_model().eval()
    batch = torch.from_numpy(np.stack([preproc(p, size)[0] for p in pictures()]))
    settle(network, lambda: network(batch))
    head = network.head
    spread_out([*head.obj_preds, *head.cls_preds], lambda: network(batch), -1.0)
    spread_out(head.reg_preds, lambda: network(batch), 1.0, 0.5)
    head.decode_in_inference = False
    torch.onnx.export(
        network, (batch[:1],), path, input_names=["images"], output_names=["output"], dynamo=False, opset_version=17
    )
    head.decode_in_inference = True

    def infer(pixels: Pixels) -> list[Thing]:
        prepared, ratio = preproc(pixels, size)
        with torch.no_grad():
            found = postprocess(network(torch.from_numpy(prepared[None])), 5, CONFIDENCE, IOU)[0]
        if found is None:
            return []
        return things(pixels, found[:, 6], found[:, 4] * found[:, 5], found[:, :4] / ratio)

    return infer


def rfdetr(path: Path) -> OwnInference:
    """RF-DETR nano; its own program predicts with the network that was exported."""
    import torch
    from rfdetr import RFDETRNano

    torch.manual_seed(0)
    detector = RFDETRNano(pretrain_weights=None, num_classes=5)
    network = detector.model.model
    detector.predict(pictures()[0])
    size = (detector.model.resolution,) * 2
    batch = torch.from_numpy(
        np.stack(
            [
                cv2.resize(p, size)[:, :, ::-1].transpose(2, 0, 1) / np.float32(255) - np.float32(0.45)
                for p in pictures()
            ]
        )
    )
    classes = [*network.transformer.enc_out_class_embed, network.class_embed]
    spread_out(classes[-1:], lambda: network(batch), -2.5)
    detector.export(output_dir=str(path.parent), verbose=False).rename(path)

    def infer(pixels: Pixels) -> list[Thing]:
        found = detector.predict(np.ascontiguousarray(pixels[:, :, ::-1]), threshold=CONFIDENCE)
        return things(pixels, found.class_id, found.confidence, found.xyxy)

    return infer


RCNN = ["roi_heads.box_predictor.cls_score"]
SSD = [f"head.classification_head.module_list.{number}" for number in range(6)]
SSDLITE = [f"{layer}.1" for layer in SSD]
SMALL = {"min_size": 240, "max_size": 400}
EXPORTERS = {
    "yolov5n": Exporter("ultralytics", ultralytics("yolov5n.yaml")),
    "yolov8n": Exporter("ultralytics", ultralytics("yolov8n.yaml")),
    "yolov8n, NMS inside": Exporter("ultralytics", ultralytics("yolov8n.yaml", nms=True)),
    "yolov9t": Exporter("ultralytics", ultralytics("yolov9t.yaml")),
    "yolov10n": Exporter("ultralytics", ultralytics("yolov10n.yaml")),
    "yolo12n": Exporter("ultralytics", ultralytics("yolo12n.yaml")),
    "yolov8n-seg": Exporter("ultralytics", ultralytics("yolov8n-seg.yaml")),
    "yolo11n-seg": Exporter("ultralytics", ultralytics("yolo11n-seg.yaml")),
    "yolo11n-seg, NMS inside": Exporter("ultralytics", ultralytics("yolo11n-seg.yaml", nms=True)),
    "yolo26n-seg": Exporter("ultralytics", ultralytics("yolo26n-seg.yaml")),
    "yolov8n-pose": Exporter("ultralytics", ultralytics("yolov8n-pose.yaml")),
    "yolo11n-pose, NMS inside": Exporter("ultralytics", ultralytics("yolo11n-pose.yaml", nms=True)),
    "yolo26n-pose": Exporter("ultralytics", ultralytics("yolo26n-pose.yaml")),
    "yolov8n-cls": Exporter("ultralytics", ultralytics("yolov8n-cls.yaml")),
    "yolo11n-cls": Exporter("ultralytics", ultralytics("yolo11n-cls.yaml")),
    "yolov10n, end to end": Exporter("ultralytics", ultralytics("yolov10n.yaml", nms=False)),
    "yolo26n-seg, end to end": Exporter("ultralytics", ultralytics("yolo26n-seg.yaml", nms=False)),
    "yolo26n-pose, end to end": Exporter("ultralytics", ultralytics("yolo26n-pose.yaml", nms=False)),
    "yolox-nano": Exporter("yolox", yolox),
    "rfdetr-nano": Exporter("rfdetr", rfdetr),
    "RTDetr": Exporter("transformers", transformers("RTDetr"), {"family": "rtdetr"}),
    "RTDetrV2": Exporter("transformers", transformers("RTDetrV2"), {"family": "rtdetr"}),
    "DFine": Exporter("transformers", transformers("DFine"), {"family": "rtdetr"}),
    "fasterrcnn": Exporter("torchvision", torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", RCNN), any_size=True),
    "maskrcnn": Exporter("torchvision", torchvision("maskrcnn_resnet50_fpn", RCNN, **SMALL), any_size=True),
    "keypointrcnn": Exporter("torchvision", torchvision("keypointrcnn_resnet50_fpn", RCNN, **SMALL), any_size=True),
    "retinanet": Exporter(
        "torchvision",
        torchvision("retinanet_resnet50_fpn", ["head.classification_head.cls_logits"], **SMALL),
        any_size=True,
    ),
    "fcos": Exporter(
        "torchvision",
        torchvision("fcos_resnet50_fpn", ["head.classification_head.cls_logits"], **SMALL),
        any_size=True,
    ),
    "ssdlite": Exporter("torchvision", torchvision("ssdlite320_mobilenet_v3_large", SSDLITE), any_size=True),
    "ssd300": Exporter("torchvision", torchvision("ssd300_vgg16", SSD), any_size=True),
}
