"""The page on which the stand-in for the platform shows what it got: pictures with what is annotated on them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from rigs.platform.records import Received, StoredAnnotation, StoredImage

_MOST_SHOWN = 200

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; background: #f6f6f4; color: #222 }
table { border-collapse: collapse } td, th { padding: 0.1em 1em 0.1em 0; text-align: left }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1.5em }
figure { margin: 0; background: #fff; padding: 0.7em; border: 1px solid #ddd } svg { width: 100%; height: auto }
figcaption { overflow-wrap: anywhere } small { color: #666 }
.box { fill: none; stroke: #e6007e; stroke-width: 2; vector-effect: non-scaling-stroke }
.dot { fill: #00a0e6 } i { background: #eee; padding: 0 0.4em; font-style: normal }
"""


def page(images: Sequence[StoredImage], annotations: Sequence[StoredAnnotation], requests: Sequence[Received]) -> str:
    """The page as HTML; the newest images first."""
    of_image = {annotation.image_id: annotation for annotation in annotations}
    calls = Counter((received.call, str(received.status or "no answer")) for received in requests)
    rows = "".join(
        f"<tr><td>{escape(call)}<td>{escape(status)}<td>{count}" for (call, status), count in sorted(calls.items())
    )
    figures = "".join(_figure(image, of_image.get(image.id)) for image in reversed(images[-_MOST_SHOWN:]))
    return (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Stand-in for the platform</title>"
        f"<style>{_STYLE}</style><h1>Stand-in for the platform</h1>"
        f"<p>{len(images)} images, {len(of_image)} of them annotated. <small>Reload to see what came since.</small></p>"
        f"<table><tr><th>call<th>answered<th>times{rows}</table><h2>Images</h2><main>{figures}</main>"
    )


def _figure(image: StoredImage, annotation: StoredAnnotation | None) -> str:
    tags = " ".join(f"<i>{escape(tag)}</i>" for tag in image.tags)
    said = "" if annotation is None else annotation.text
    content = _json(said)
    width, height = _size(content)
    drawn = "".join(_drawn(found) for found in content.get("predictions", ()) if isinstance(found, dict))
    picture = f'<image href="/stand-in/{image.id}.jpg" width="{width}" height="{height}"/>'
    svg = f'<svg viewBox="0 0 {width} {height}">{picture}{drawn}</svg>'
    if not drawn:
        svg = f'<img src="/stand-in/{image.id}.jpg" alt="" style="width:100%">'
    labels = Counter(str(found.get("class")) for found in content.get("predictions", ()) if isinstance(found, dict))
    told = ", ".join(f"{count} {name}" for name, count in labels.items()) if content else said
    answer = escape(told) if annotation is not None and told else "none" if annotation is None else "nothing in it"
    return (
        f"<figure>{svg}<figcaption><b>{escape(image.name)}</b><br>project {escape(image.project)}, "
        f"batch {escape(image.batch)}<br>{tags}<br>annotation: {answer}</figcaption></figure>"
    )


def _json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("predictions", []), list) else {}


def _size(content: dict[str, Any]) -> tuple[float, float]:
    image = content.get("image")
    if isinstance(image, dict) and isinstance(image.get("width"), int) and isinstance(image.get("height"), int):
        return image["width"], image["height"]
    return 1, 1


def _drawn(found: dict[str, Any]) -> str:
    """A box or polygon and its keypoints, as SVG."""
    try:
        x, y, width, height = (float(found[key]) for key in ("x", "y", "width", "height"))
        name = escape(f"{found.get('class')} {float(found.get('confidence', 0)):.2f}")
        points = " ".join(f"{float(p['x'])},{float(p['y'])}" for p in found.get("points") or ())
        dots = "".join(
            f'<circle class=dot cx="{float(p["x"])}" cy="{float(p["y"])}" r="1%"/>'
            for p in found.get("keypoints") or ()
        )
    except (KeyError, TypeError, ValueError):
        return ""
    box = f'<rect class=box x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}"/>'
    shape = f'<polygon class=box points="{points}"/>' if points else box
    return f"<g><title>{name}</title>{shape}{dots}</g>"
