"""What harms nobody at POST /datapoints: bombs, rubbish and lies get a clear answer each; nothing of them is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from framesift.listeners.datapoint_requests import MAX_VALUES
from framesift.prediction.prediction import MAX_OBJECTS
from rigs.daemon import POLICY, Daemon, collected, write_configuration
from rigs.hostile_pictures import PNG, black, chunk, header, png, resized, scanned, zeros
from rigs.listeners import RunningListener, in_base64, picture, prediction_json, running_listener
from rigs.raw_http_server import reserve_closed_port

JSON = {"Content-Type": "application/json"}
JPEG, REAL_PNG = picture(), picture(kind=".png")


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningListener]:
    with running_listener(tmp_path_factory.mktemp("listener")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _nothing_is_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """And whatever came, the next good datapoint is welcome."""
    yield
    if "listener" in request.fixturenames:
        listener: RunningListener = request.getfixturevalue("listener")
        assert listener.items() == ()
        taken = listener.post({"image": in_base64(JPEG), "prediction": prediction_json()})
        assert taken.status_code == 200
        (item,) = listener.items()
        listener.spool.complete(item.id)
        assert "Traceback" not in listener.out.getvalue()


def told(answer: requests.Response, status: int, where: str, why: str = "") -> None:
    """An answer that says what is wrong and where, in JSON, in a few words."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "where"}
    assert answer.json()["where"] == where
    assert why in answer.json()["error"]
    assert len(answer.json()["error"]) < 400


# -- pictures


PICTURES = {
    "a PNG of 60000 x 60000": (
        PNG + header(60_000, 60_000) + chunk(b"IDAT", zeros(9)) + chunk(b"IEND"),
        "60000 x 60000",
    ),
    "a PNG wider than any": (PNG + header(2**31 - 1, 2) + chunk(b"IDAT", zeros(9)) + chunk(b"IEND"), "each side has"),
    "a PNG without a size": (PNG + header(0, 48) + chunk(b"IDAT", zeros(9)) + chunk(b"IEND"), "each side has"),
    "a PNG that unpacks into a lot": (png(chunk(b"IDAT", zeros(1 << 26))), "its header promises"),
    "a PNG that unpacks into nothing": (png(chunk(b"IDAT", zeros(0))), "its header promises"),
    "a PNG whose content is no zlib": (png(chunk(b"IDAT", b"rubbish")), "can't be unpacked"),
    "a PNG that moves": (png(chunk(b"acTL", bytes(8)), chunk(b"IDAT", zeros(48 * 193))), "animated"),
    "a PNG with two headers": (png(header(64, 48), chunk(b"IDAT", zeros(48 * 193))), "two"),
    "a PNG with a bit that fell over": (REAL_PNG.replace(b"IDAT", b"IDAU"), "damaged"),
    "a JPEG of 65535 x 65535": (resized(JPEG, 65_535, 65_535), "65535 x 65535"),
    "a JPEG without a height": (resized(JPEG, 64, 0), "each side has"),
    "a JPEG with a hundred scans": (scanned(JPEG, 100), "more than 64"),
    "a JPEG of a kind that nobody writes": (JPEG.replace(b"\xff\xc0", b"\xff\xc9"), "few programs read"),
    "a GIF": (b"GIF89a" + bytes(64), "neither a JPEG nor a PNG"),
    "a page": (b"<html><body>Accept the terms to go online.</body></html>", "neither a JPEG nor a PNG"),
    "nothing": (b"", "neither a JPEG nor a PNG"),
    "a JPEG whose data end early": (JPEG[: len(JPEG) // 2 + 150].rstrip(b"\xff") + b"\xff\xd9", "data end early"),
    "the beginning of a JPEG alone": (b"\xff\xd8\xff", "end is missing"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_is_a_bomb_or_none_is_refused_before_it_is_decoded(listener: RunningListener, name: str) -> None:
    sent, why = PICTURES[name]
    told(listener.post({"image": in_base64(sent), "prediction": prediction_json()}), 422, "image", why)
    told(
        listener.post(files={"image": sent or ("a.jpg", b""), "prediction": (None, json.dumps(prediction_json()))}),
        422,
        "image",
        why,
    )


@pytest.mark.parametrize("whole", [JPEG, REAL_PNG], ids=["JPEG", "PNG"])
def test_a_picture_that_was_cut_is_refused_wherever_it_was_cut(listener: RunningListener, whole: bytes) -> None:
    cuts = sorted({*range(1, len(whole), max(1, len(whole) // 40)), len(whole) - 1, len(whole) - 2})
    items = [{"image": in_base64(whole[:cut]), "prediction": prediction_json()} for cut in cuts]
    for first in range(0, len(items), 20):
        for decision in listener.post({"datapoints": items[first : first + 20]}).json()["datapoints"]:
            assert decision["where"].endswith(".image")


def test_what_only_describes_a_picture_is_not_even_unpacked(listener: RunningListener) -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 26))
    sent = png(bomb, chunk(b"iCCP", b"x\0\0" + zeros(1 << 26)), chunk(b"IDAT", zeros(48 * 193)))
    assert listener.post({"image": in_base64(sent), "prediction": prediction_json()}).json()["strategy"] == "all"
    (item,) = listener.items()
    assert item.size_bytes < 10_000
    listener.spool.complete(item.id)


def test_a_picture_of_too_many_bytes_is_refused_by_its_size(listener: RunningListener) -> None:
    fat = JPEG[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 300 + JPEG[2:]  # a legal one, with comments
    told(listener.post(files={"image": fat}), 413, "image", "16,777,216")
    told(listener.post({"image": in_base64(fat)}), 413, "image", "16,777,216")


# -- predictions


def car(**more: Any) -> dict[str, Any]:
    return {"predictions": [{**prediction_json()["predictions"][0], **more}]}


NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:9])
@pytest.mark.parametrize("key", ["x", "confidence", "class_id", "time", "width"])
def test_a_number_that_is_none_gets_no_further_than_its_text(listener: RunningListener, key: str, number: str) -> None:
    marked = {**prediction_json(), "time": "HERE"} if key == "time" else prediction_json(**{key: "HERE"})
    text = json.dumps(marked).replace('"HERE"', number)
    told(listener.post(files={"image": JPEG, "prediction": (None, text)}), 400, "prediction")
    whole = f'{{"image": "{in_base64(JPEG)}", "prediction": {text}}}'
    told(listener.post(data=whole, headers=JSON), 400, "")


@pytest.mark.parametrize(
    ("prediction", "where", "why"),
    [
        (7, "", "JSON object"),
        ([], "", "JSON object"),
        ("none", "", "JSON object"),
        ({}, "", "predictions"),
        ({"predictions": 7}, "", "predictions"),
        ({"predictions": None, "image": {"width": 64, "height": 48}}, "", "predictions"),
        ({"predictions": [], "image": 7}, "image", "width and height"),
        ({"predictions": [], "image": {"width": "64", "height": 48}}, "", "image.width"),
        ({"predictions": [], "image": {"width": 64, "height": 10**400}}, "", "image.height"),
        ({"predictions": [], "image": {"width": 65, "height": 48}}, "image", "65 x 48"),
        ({"predictions": [7]}, "predictions[0]", "an object"),
        ({"predictions": [*prediction_json()["predictions"], {}]}, "predictions[1].x", "a number"),
        (prediction_json(x="32"), "predictions[0].x", "a number"),
        (prediction_json(y=True), "predictions[0].y", "a number"),
        (car(width=-1), "predictions[0].width", "from 0 on"),
        (car(height=10**400), "predictions[0].height", "from 0 on"),
        (prediction_json(confidence=None), "predictions[0].confidence", "from 0 to 1"),
        (prediction_json(confidence=50), "predictions[0].confidence", "50 is not allowed: a number from 0 to 1"),
        ({"predictions": [], "top": "cat", "confidence": 50}, "", "confidence: 50 is not a number from 0 to 1"),
        (prediction_json(**{"class": 7}), "predictions[0].class", "the name of a class"),
        (prediction_json(**{"class": ""}), "predictions[0].class", "the name of a class"),
        (prediction_json(points=[{"x": 1.0}]), "predictions[0]", "points"),
        (prediction_json(rle={"size": [10**6, 10**6], "counts": "x"}), "predictions[0]", "rle"),
        (prediction_json(keypoints=7), "predictions[0]", "keypoints"),
        ({"predictions": [{"class": "cat"}], "top": "cat", "confidence": 0.5}, "predictions[0].confidence", "number"),
        ({"predictions": 7, "top": "cat", "confidence": 0.5}, "predictions", "a list"),
        ({"predictions": [], "top": "cat", "confidence": "0.5"}, "", "confidence"),
        ({"predictions": {"cat": 0.5}, "predicted_classes": []}, "predictions", "confidence"),
        ({"predictions": {}, "predicted_classes": 7}, "", "predicted_classes"),
        ({"is_stub": True, "task_type": "guessing"}, "", "guessing"),
    ],
)
def test_a_prediction_with_a_wrong_type_anywhere_is_refused_with_its_place(
    listener: RunningListener, prediction: Any, where: str, why: str
) -> None:
    at = "prediction" + (f".{where}" if where else "")
    told(listener.post({"image": in_base64(JPEG), "prediction": prediction}), 422, at, why)


@pytest.mark.parametrize(
    ("more", "status", "where"),
    [
        ({"stream": 7}, 400, "stream"),
        ({"stream": "../etc"}, 400, "stream"),
        ({"stream": "x" * 65}, 400, "stream"),
        ({"stream": "a\nb"}, 400, "stream"),
        ({"task": "guessing"}, 400, "task"),
        ({"task": []}, 400, "task"),
        ({"captured_at": "yesterday"}, 400, "captured_at"),
        ({"captured_at": True}, 400, "captured_at"),
        ({"captured_at": "2026-09-10T12:00:00"}, 400, "captured_at"),  # of which zone?
        ({"captured_at": "0001-01-01T00:00:00+23:59"}, 422, "captured_at"),
        ({"captured_at": 10**400}, 400, "captured_at"),
        ({"captured_at": 0}, 422, "captured_at"),
        ({"captured_at": "2027-01-01T00:00:00Z"}, 422, "captured_at"),
        ({"image": None}, 400, "image"),
        ({"image": 7}, 400, "image"),
        ({"image": {"type": "url", "value": "http://127.0.0.1/"}}, 400, "image"),
        ({"image": "no base64!"}, 400, "image"),
        ({"image": "\ud800"}, 400, "image"),
        ({"colour": "red"}, 400, ""),
    ],
)
def test_a_datapoint_with_a_wrong_type_anywhere_is_refused_with_its_place(
    listener: RunningListener, more: dict[str, Any], status: int, where: str
) -> None:
    told(listener.post({"image": in_base64(JPEG), "prediction": prediction_json(), **more}), status, where)


@pytest.mark.parametrize("content", [[], 7, "x", None, {"datapoints": []}, {"datapoints": 7}, {"datapoints": {}}])
def test_json_that_is_no_datapoint_is_refused(listener: RunningListener, content: Any) -> None:
    told(listener.post(data=json.dumps(content), headers=JSON), 400, "datapoints" if isinstance(content, dict) else "")


BODIES: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "not JSON"),
    "nothing but spaces": (b"   ", 400, "not JSON"),
    "bad UTF-8": (b'{"image": "\xff\xfe", "stream": "\xc3\x28"}', 400, "not JSON"),
    "nested a hundred thousand deep": (b"[" * 100_000 + b"]" * 100_000, 400, "nested too deep"),
    "objects nested deep": (b'{"image":' * 100_000 + b"1" + b"}" * 100_000, 400, "nested too deep"),
    "more values than anybody needs": (b"[" + b"0," * (MAX_VALUES + 1) + b"0]", 413, "values"),
}


@pytest.mark.parametrize("name", BODIES)
def test_json_that_costs_more_than_its_bytes_is_not_read(listener: RunningListener, name: str) -> None:
    body, status, why = BODIES[name]
    told(listener.post(data=body, headers=JSON), status, "", why)
    told(listener.post(files={"image": JPEG, "prediction": (None, body)}), status, "prediction", why)


def test_a_prediction_has_a_largest_number_of_objects(listener: RunningListener) -> None:
    many = {**prediction_json(), "predictions": prediction_json()["predictions"] * (MAX_OBJECTS + 1)}
    told(listener.post({"image": in_base64(JPEG), "prediction": many}), 422, "prediction.predictions", "at most")


def test_texts_that_can_not_be_shown_or_stored_are_made_so(listener: RunningListener) -> None:
    answer = listener.post(
        {"image": in_base64(JPEG), "prediction": prediction_json(**{"class": "c\ud800a\x00r\n" + "x" * 5000})}
    )
    assert answer.json()["strategy"] == "all"
    (item,) = listener.items()
    (found,) = json.loads(item.prediction)["predictions"]
    assert found["class"].startswith("c?arx")
    assert len(found["class"]) <= 200
    listener.spool.complete(item.id)


# -- forms


def formed(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n{more}\r\n'.encode() + content


FORMS = {
    "no parts": (formed(), "image"),
    "no image": (formed(part("prediction", b"{}")), "image"),
    "another boundary": (formed(part("image", JPEG)).replace(b"--x", b"--y"), ""),
    "no end": (formed(part("image", JPEG), end=b""), ""),
    "an end that is none": (formed(part("image", JPEG), end=b"--x\r\n"), ""),
    "a part without a name": (formed(b"Content-Disposition: form-data\r\n\r\nx"), ""),
    "a part without a head": (formed(b"x"), ""),
    "a part of an unknown name": (formed(part("image", JPEG), part("picture", JPEG)), ""),
    "base64 where bytes belong": (formed(part("image", JPEG, "Content-Transfer-Encoding: base64\r\n")), ""),
    "two predictions of one image": (formed(part("image", JPEG), *[part("prediction", b"{}")] * 2), "prediction"),
    "a prediction before two images": (formed(part("prediction", b"{}"), *[part("image", JPEG)] * 2), "prediction"),
    "bad UTF-8 in a name": (formed(part("image", JPEG), part("stream", b"\xff\xfe")), "stream"),
    "a stream of a megabyte": (formed(part("image", JPEG), part("stream", b"x" * (1 << 20))), "stream"),
    "more parts than anybody needs": (formed(*[part("task", b"")] * 300), ""),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_none_is_refused(listener: RunningListener, name: str) -> None:
    body, where = FORMS[name]
    told(listener.post(data=body, headers={"Content-Type": "multipart/form-data; boundary=x"}), 400, where)


# -- a real daemon under all of it


def _peak_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def _at_once(count: int, ask: Callable[[], requests.Response]) -> set[int]:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(ask().status_code)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == count
    return set(statuses)


@pytest.mark.exhaustive
def test_memory_is_bounded_whatever_comes_and_the_daemon_goes_on(tmp_path: Path) -> None:
    place, port = reserve_closed_port()
    place.close()
    nothing = {"name": "none", "type": "random", "traffic_percentage": 0.0}
    settings = {"model": None, "listeners": [{"listen": f"127.0.0.1:{port}"}]}
    write_configuration(tmp_path, settings, {**POLICY, "sampling_strategies": [nothing]})
    url = f"http://127.0.0.1:{port}/datapoints"
    largest = {"image": in_base64(black(5000, 4000)), "prediction": prediction_json(5000, 4000)}
    heavy = [
        {"json": largest},  # large ones are decoded one after the other
        {"data": json.dumps({"image": "A" * (31 << 20)}), "headers": JSON},
        {"files": {"image": bytes(31 << 20)}},
        {"data": b"[" + b"[0.1]," * (MAX_VALUES // 2 - 1) + b"0]", "headers": JSON},
        {"data": bytes(100 << 20), "headers": JSON},
        {"json": {"image": in_base64(png(chunk(b"IDAT", zeros(1 << 26)))), "prediction": prediction_json()}},
    ]
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        before_mib = _peak_mib(daemon.process.pid)
        seen = [_at_once(2, lambda how=how: requests.post(url, timeout=60, **how)) for how in heavy]  # type: ignore[misc]  # mypy can't infer a default's type
        seen.append(_at_once(2, lambda: requests.post(url, data=iter([bytes(1 << 20)] * 100), timeout=60)))
        assert seen == [{200}, {413}, {413}, {400}, {413}, {422}, {413}]
        # Two bodies of 32 MiB, each in three copies, and beside them one picture of 20 million pixels.
        assert _peak_mib(daemon.process.pid) - before_mib < 2 * 3 * 32 + 58 + 64
        taken = requests.post(url, json={"image": in_base64(JPEG), "prediction": prediction_json()}, timeout=20)
        assert taken.json()["reason"] == "no_match"
        assert daemon.stop() == 0
    assert collected(tmp_path) == []
    assert not daemon.stray
