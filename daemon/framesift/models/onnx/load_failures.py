"""Why a network's file can't be loaded, in words for the operator: those of onnxruntime quote its own source."""

from __future__ import annotations

import re
from pathlib import Path

_OPSET = re.compile(r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)", re.DOTALL)
_FORMAT = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OPERATION = re.compile(r"(?:Fatal error: |No Op registered for )(\S+?)(?:\(-?\d+\) is not a registered| with domain)")
# A place in onnxruntime's source, and the function there with its types.
_SOURCE = re.compile(r"\S*/\S+\.(?:cc|h|cpp|cu):\d+ [^\n]*?\) ")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?")


def _foreign(path: Path) -> str | None:
    """What a file is that is no ONNX file, as far as its name and its first bytes tell, and the way out."""
    with path.open("rb") as file:
        first = file.read(64)
    if not first:
        return "empty: copy or export it again"
    if path.suffix in (".pt", ".pth") or first.startswith(b"PK"):
        return f"a PyTorch file, not an ONNX file: export it (yolo export model={path.name} format=onnx)"
    if first.lstrip().startswith(b"<"):
        return "a web page, not an ONNX file: download the file itself"
    return None


def load_problem(path: Path, failure: str, version: str) -> str:
    """What is wrong with the file, and the way out, on at most two lines. failure: onnxruntime's text."""
    if opset := _OPSET.search(failure):
        found, domain, most = opset.groups()
        return (
            f"{path} is written for opset {found} of {domain}; onnxruntime {version} reads up to {most}.\n"
            f"Export it again with opset {most} or lower (17 is read everywhere), or install a newer onnxruntime"
        )
    if file_format := _FORMAT.search(failure):
        found, most = file_format.groups()
        return (
            f"{path} is written in ONNX's format (IR) {found}; onnxruntime {version} reads up to {most}.\n"
            "Export it again with an older version of the onnx package, or install a newer onnxruntime"
        )
    if operation := _OPERATION.search(failure):
        return (
            f"{path} needs the operation {operation.group(1)}, which onnxruntime {version} does not have.\n"
            "Export it again without it: an export for onnxruntime instead of TensorRT, or another opset"
        )
    if (foreign := _foreign(path)) is not None:
        return f"{path} is {foreign}"
    text = _SOURCE.sub("", _PREFIX.sub("", failure)).strip()
    return f"{path} can't be loaded: {' '.join(text.split())[:400]}"
