"""Large pictures from clients: kept as they came, without their metadata, and without memory for all their pixels."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from framesift.clock.clock import SystemClock
from framesift.datapoint import encode_datapoint
from framesift.frame import Frame, Pixels
from framesift.pictures.encoded_picture import BadPicture, LazyEncodedPicture, parse_picture
from framesift.pictures.outgoing import NO_MASK
from framesift.prediction.prediction import Stub, Task
from rigs.daemon import Daemon, collected, write_configuration
from rigs.hostile_pictures import turned
from rigs.jpegs import with_segment

WIDTH, HEIGHT = 4003, 3001  # twelve megapixels, and no multiple of 8


def scene(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    noise = np.random.default_rng(1).integers(0, 255, (30, 40, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height)), np.uint8)


def jpeg_of(pixels: Pixels, kind: str = ".jpg") -> bytes:
    return cv2.imencode(kind, pixels)[1].tobytes()


@pytest.fixture(scope="module")
def large() -> bytes:
    return jpeg_of(scene())


def stored(content: bytes, max_size: tuple[int, int] | None = None) -> tuple[bytes, tuple[int, int]]:
    """The JPEG that a datapoint gets, and its (width, height)."""
    frame = Frame("gate", 0, LazyEncodedPicture(parse_picture(content)), SystemClock().now())
    stub = Stub(task=Task.OBJECT_DETECTION, width=frame.width, height=frame.height)
    datapoint = encode_datapoint(frame, stub, id="x", device="d", mask=NO_MASK, max_size=max_size, jpeg_quality=None)
    return datapoint.jpeg, (datapoint.width, datapoint.height)


def decoded(jpeg: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_a_large_jpeg_is_stored_as_it_came(large: bytes) -> None:
    jpeg, size = stored(large)
    assert size == (WIDTH, HEIGHT)
    assert np.array_equal(decoded(jpeg), decoded(large))
    assert jpeg == large


def test_what_it_says_of_its_place_and_author_is_not_stored(large: bytes) -> None:
    told = with_segment(
        with_segment(with_segment(large, 0xED, b"IPTC my name"), 0xFE, b"my house"), 0xE2, b"my colours"
    )
    jpeg, _ = stored(told)
    assert b"my " not in jpeg
    assert np.array_equal(decoded(jpeg), decoded(large))


def test_one_with_exif_is_turned_and_encoded_anew(large: bytes) -> None:
    jpeg, size = stored(turned(large))
    assert size == (HEIGHT, WIDTH)
    assert decoded(jpeg).shape == (WIDTH, HEIGHT, 3)
    assert b"Exif" not in jpeg


def test_a_png_is_encoded_anew() -> None:
    content = jpeg_of(scene(), ".png")
    jpeg, size = stored(content)
    assert jpeg != content
    assert decoded(jpeg).shape == (size[1], size[0], 3)


def test_where_the_policy_wants_it_smaller_it_is_made_smaller(large: bytes) -> None:
    jpeg, size = stored(large, max_size=(480, 640))
    assert size == (640, 479)
    expected = cv2.resize(scene(), size, interpolation=cv2.INTER_AREA)
    assert np.abs(decoded(jpeg).astype(int) - expected).mean() < 3.0


def test_the_overview_of_one_that_is_turned_needs_no_more_memory(large: bytes) -> None:
    picture = LazyEncodedPicture(parse_picture(turned(large)))
    assert (picture.width, picture.height) == (HEIGHT, WIDTH)
    assert picture.overview().shape == (501, 376, 3)


@pytest.mark.parametrize(("wanted", "fraction"), [(1, 8), (501, 8), (502, 4), (1001, 4), (1500, 2), (2003, 1)])
def test_the_overview_is_as_small_as_it_may_be(large: bytes, wanted: int, fraction: int) -> None:
    picture = LazyEncodedPicture(parse_picture(large))
    overview = picture.overview(wanted, 1)
    assert overview.shape == (-(-HEIGHT // fraction), -(-WIDTH // fraction), 3)


def test_one_whose_end_is_missing_is_no_picture(large: bytes) -> None:
    with pytest.raises(BadPicture):
        parse_picture(large[: len(large) // 2])


def test_one_that_lies_about_its_size_is_no_picture(large: bytes) -> None:
    picture = parse_picture(large)
    for width, height in ((WIDTH + 8, HEIGHT), (WIDTH, HEIGHT - 8)):
        with pytest.raises(BadPicture, match="another size"):
            LazyEncodedPicture(replace(picture, width=width, height=height)).overview()


def test_a_picture_of_64_megapixels_needs_less_than_200_mb(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    write_configuration(tmp_path, {"listeners": [{"listen": listen}]})
    content = jpeg_of(scene(9216, 6944))

    def send(image: bytes) -> dict[str, Any]:
        form = {"image": image, "stream": (None, "gate"), "prediction": (None, '{"predictions": []}')}
        answer: dict[str, Any] = requests.post(f"http://{listen}/datapoints", files=form, timeout=120).json()  # type: ignore[arg-type]
        return answer

    with Daemon(tmp_path) as daemon:
        daemon.wait_for("ready")
        send(jpeg_of(scene(640, 480)))
        place = Path(f"/proc/{daemon.process.pid}")
        (place / "clear_refs").write_text("5")  # the peak is counted from here
        before_kib = _status_kib(place, "VmRSS")
        assert send(content)["strategy"] == "all"
        grown_kib = _status_kib(place, "VmHWM") - before_kib
        assert daemon.until(lambda: len(collected(tmp_path)) == 2, 30.0)
        daemon.stop()
    assert grown_kib * 1024 < 200e6
    assert sorted((line["width"], line["height"]) for line in collected(tmp_path)) == [(640, 480), (9216, 6944)]


def _status_kib(place: Path, name: str) -> int:
    (line,) = (line for line in (place / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
