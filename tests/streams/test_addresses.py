"""How a camera is reached: TLS, UDP, credentials, HTTP, and that nothing leads anywhere else."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from framesift.streams import StreamLost
from framesift.streams.away_reasons import AwayReason
from framesift.streams.engines.ffmpeg_options import as_opencv_text
from framesift.streams.engines.pace import Pace
from rigs.certificates import Authority
from rigs.daemon import framesift, write_configuration
from rigs.footage import numbered_clip, read_number
from rigs.scripted_camera import ScriptedCamera, rtp_payloads
from rigs.stream_reader import RecordedStream
from rigs.web_camera import WebCamera, hls_segments, playlist

ENGINES = ["av", "opencv"]
Pictures = Sequence[Sequence[bytes]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 250)


@pytest.fixture(scope="module")
def pictures(clip: Path) -> Pictures:
    return rtp_payloads(clip)


@pytest.fixture(scope="module")
def segments(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return hls_segments(clip, tmp_path_factory.mktemp("hls") / "parts")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def trusted(authority: Authority) -> ssl.SSLContext:
    return context(authority.issue("camera"))


def context(files: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    return made


def why_lost(watched: RecordedStream) -> tuple[AwayReason, str]:
    with pytest.raises(StreamLost) as lost:
        watched.stream.first_frame(20.0)
    return lost.value.reason, str(lost.value)


# -- TLS


def test_a_camera_whose_certificate_ca_file_vouches_for_is_read(
    pictures: Pictures, trusted: ssl.SSLContext, authority: Authority
) -> None:
    with ScriptedCamera(pictures=pictures, tls=trusted) as camera:
        assert RecordedStream(source=camera.url, ca_file=authority.certificate).take(3)


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_asked(
    pictures: Pictures, authority: Authority
) -> None:
    own = context(authority.self_signed("own"))
    user: dict[str, Any] = {"username": "viewer", "password": "secretpw"}
    with ScriptedCamera(pictures=pictures, tls=own, credentials="viewer:secretpw") as camera:
        trusts: tuple[dict[str, Any], ...] = ({}, {"ca_file": authority.certificate})
        for trust in trusts:
            reason, why = why_lost(RecordedStream(source=camera.url, **user, **trust))
            assert reason is AwayReason.TLS
            assert "Peer certificate failed verification" in why
        assert camera.requests == 0
        assert RecordedStream(source=camera.url, **user, verify=False).take(3)


def test_a_self_signed_certificate_is_trusted_where_it_is_the_ca_file(pictures: Pictures, authority: Authority) -> None:
    files = authority.self_signed("pinned")
    with ScriptedCamera(pictures=pictures, tls=context(files)) as camera:
        assert RecordedStream(source=camera.url, ca_file=files[0]).take(3)


def test_a_certificate_of_another_camera_is_refused(
    pictures: Pictures, trusted: ssl.SSLContext, authority: Authority
) -> None:
    with ScriptedCamera(pictures=pictures, tls=trusted, host="127.0.0.2") as camera:  # it is for 127.0.0.1
        reason, why = why_lost(RecordedStream(source=camera.url, ca_file=authority.certificate))
        assert reason is AwayReason.TLS
        assert "does not match hostname" in why
        assert camera.requests == 0


def test_opencv_which_verifies_nothing_reads_over_tls_only_where_nothing_is_to_be_verified(
    pictures: Pictures, trusted: ssl.SSLContext, authority: Authority
) -> None:
    with ScriptedCamera(pictures=pictures, tls=trusted) as camera:
        watched = RecordedStream(source=camera.url, ca_file=authority.certificate, engine="opencv")
        assert why_lost(watched)[0] is AwayReason.ENGINE
        assert camera.requests == 0
        assert RecordedStream(source=camera.url, verify=False, engine="opencv").take(3)


def test_a_camera_on_https_is_verified_in_the_same_way(trusted: ssl.SSLContext, authority: Authority) -> None:
    with WebCamera(tls=trusted) as camera:
        source = f"{camera.url}/video.mjpg"
        assert why_lost(RecordedStream(source=source))[0] is AwayReason.TLS
        assert camera.authorizations == []
        assert RecordedStream(source=source, ca_file=authority.certificate).take(3)


def test_a_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    reason, why = why_lost(RecordedStream(source="rtsps://127.0.0.1:9/live", ca_file=tmp_path / "none.pem"))
    assert reason is AwayReason.TLS
    assert "none.pem is not there" in why
    assert "is a folder, not a file" in why_lost(RecordedStream(source="rtsps://127.0.0.1:9/live", ca_file=tmp_path))[1]


def test_check_says_that_a_certificate_is_not_verified(
    tmp_path: Path, pictures: Pictures, authority: Authority
) -> None:
    with ScriptedCamera(pictures=pictures, tls=context(authority.self_signed("own"))) as camera:
        write_configuration(tmp_path, {"streams": [{"name": "gate", "source": camera.url, "verify": False}]})
        checked = framesift(tmp_path, "check", COLUMNS="300")
    assert checked.returncode == 0, checked.stdout
    assert "its certificate is not verified" in checked.stdout
    assert "first frame 320 x 192" in checked.stdout


def test_a_value_that_opencv_can_not_be_given_is_refused() -> None:
    with pytest.raises(ValueError, match="ca_file has a character"):
        as_opencv_text({"ca_file": "/a|protocol_whitelist;file/ca.pem"})


# -- transport


@pytest.mark.parametrize("engine", ENGINES)
def test_a_camera_that_offers_udp_only_is_read_over_udp_and_that_is_said_once(engine: str, pictures: Pictures) -> None:
    with ScriptedCamera(pictures=pictures, transport="udp") as camera:
        watched = RecordedStream(source=camera.url, engine=engine)
        frames = watched.stream.frames()
        assert next(frames).pixels.shape == (192, 320, 3)
        assert camera.set_ups[0] == "tcp"
        assert camera.set_ups[-1] == "udp"
        asked = len(camera.set_ups)
        camera.hang_up()
        assert any(frame.epoch == 1 for frame in frames)
        assert set(camera.set_ups[asked:]) == {"udp"}
    assert watched.transports == ["udp"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_transport_that_is_asked_for_is_the_only_one(engine: str, pictures: Pictures) -> None:
    with ScriptedCamera(pictures=pictures, transport="udp") as camera:
        assert why_lost(RecordedStream(source=camera.url, transport="tcp", engine=engine))[0] is AwayReason.TRANSPORT
        assert set(camera.set_ups) == {"tcp"}
    with ScriptedCamera(pictures=pictures, transport="udp") as camera:
        watched = RecordedStream(source=camera.url, transport="udp", engine=engine)
        assert watched.take(3)
        assert camera.set_ups == ["udp"]
        assert watched.transports == []


# -- credentials


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("digest", [False, True])
def test_credentials_open_a_camera_that_wants_them(engine: str, digest: bool, pictures: Pictures) -> None:
    with ScriptedCamera(pictures=pictures, credentials="viewer:s3cret/pw", digest=digest) as camera:
        watched = RecordedStream(source=camera.url, username="viewer", password="s3cret/pw", engine=engine)
        assert watched.take(3)
        wrong = RecordedStream(source=camera.url, username="viewer", password="an0ther", engine=engine)
        reason, why = why_lost(wrong)
    assert reason is AwayReason.UNAUTHORIZED
    assert "an0ther" not in why


# -- HTTP


@pytest.mark.parametrize("engine", ENGINES)
def test_mjpeg_over_http_shows_its_pictures_in_order(engine: str) -> None:
    with WebCamera(credentials="viewer:secretpw") as camera:
        source = f"{camera.url}/video.mjpg"
        watched = RecordedStream(source=source, username="viewer", password="secretpw", engine=engine)
        seen = []
        for frame in watched.stream.frames():
            seen.append(read_number(frame.pixels))
            if len(seen) == 10:
                break
        assert seen == sorted(set(seen))
        reason, why = why_lost(RecordedStream(source=source, username="viewer", password="wr0ngword", engine=engine))
    # OpenCV shows no warnings of FFmpeg, and this is one.
    assert reason is (AwayReason.UNAUTHORIZED if engine == "av" else AwayReason.UNKNOWN)
    assert "wr0ngword" not in why


def test_live_hls_is_shown_at_the_pace_of_its_times_and_not_in_bursts(segments: list[bytes]) -> None:
    with WebCamera(segments) as camera:
        watched = RecordedStream(source=f"{camera.url}/live.m3u8")
        seen = []
        for frame in watched.stream.frames():
            seen.append((read_number(frame.pixels), frame.captured.boottime_s))
            if len(seen) == 60:
                break
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})
    shown_s, of_video_s = seen[-1][1] - seen[0][1], (seen[-1][0] - seen[0][0]) / 25
    assert of_video_s >= 2
    assert shown_s >= 0.9 * of_video_s


def test_opencv_reads_hls_too(segments: list[bytes]) -> None:
    with WebCamera(segments) as camera:
        assert RecordedStream(source=f"{camera.url}/live.m3u8", engine="opencv").take(5)


@pytest.mark.parametrize("status", ["401", "404"])
def test_what_a_web_server_refuses_has_its_reason(status: str) -> None:
    with WebCamera(credentials="a:b" if status == "401" else None) as camera:
        reason, _ = why_lost(RecordedStream(source=f"{camera.url}/none.mjpg"))
    assert reason is {"401": AwayReason.UNAUTHORIZED, "404": AwayReason.NOT_FOUND}[status]


def test_a_page_is_no_video() -> None:
    with WebCamera() as camera:
        camera.pages["/"] = b"<html><body>Please log in</body></html>"
        assert why_lost(RecordedStream(source=f"{camera.url}/"))[0] is AwayReason.DECODER


# -- what a camera must not lead to


def leading_to_files(clip: Path, segment: Path) -> Iterator[tuple[str, bytes]]:
    """Playlists that name files of this machine, by name."""
    yield "/segment.m3u8", playlist(segment.as_uri())
    yield "/segment-as-path.m3u8", playlist(str(segment))
    yield "/concatenated.m3u8", playlist(f"concat:{segment}|{segment}")
    yield "/initialisation.m3u8", playlist("0.ts", head=f'#EXT-X-MAP:URI="{clip.as_uri()}"')
    yield "/variant.m3u8", b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n" + segment.with_suffix(".m3u8").as_uri().encode()
    yield "/list", f"ffconcat version 1.0\nfile {clip.as_uri()}\n".encode()
    yield "/relative-list", f"ffconcat version 1.0\nfile {clip}\n".encode()
    yield (
        "/session",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 26\r\n",
    )


NAMES = [name for name, _ in leading_to_files(Path("/a"), Path("/a"))]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_comes_from_a_web_server_opens_a_file_of_this_machine(
    name: str, engine: str, clip: Path, segments: list[bytes], tmp_path: Path
) -> None:
    segment = tmp_path / "part.ts"
    segment.write_bytes(segments[0])
    segment.with_suffix(".m3u8").write_bytes(playlist(str(segment)))
    with WebCamera() as camera:
        camera.pages.update(leading_to_files(clip, segment))
        watched = RecordedStream(source=camera.url + name, engine=engine, open_timeout_s=1.5, read_timeout_s=1.5)
        reason, _ = why_lost(watched)
    assert reason in {
        AwayReason.BLOCKED,
        AwayReason.SILENT,
        AwayReason.DECODER,
        AwayReason.NO_VIDEO,
        AwayReason.UNKNOWN,
    }


def test_a_file_that_a_playlist_names_is_named_as_the_reason(segments: list[bytes], tmp_path: Path) -> None:
    segment = tmp_path / "part.ts"
    segment.write_bytes(segments[0])
    with WebCamera() as camera:
        camera.pages["/a.m3u8"] = playlist(segment.as_uri())
        reason, why = why_lost(RecordedStream(source=f"{camera.url}/a.m3u8", open_timeout_s=1.5))
    assert reason is AwayReason.BLOCKED
    assert "Protocol 'file' not on whitelist" in why


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["file", "rtsp", "tcp"])
def test_a_redirect_to_another_protocol_is_not_followed(kind: str, engine: str, clip: Path, pictures: Pictures) -> None:
    with WebCamera() as web, ScriptedCamera(pictures=pictures) as camera:
        targets = {"file": clip.as_uri(), "rtsp": camera.url, "tcp": f"tcp://127.0.0.1:{camera.port}"}
        web.redirects["/video"] = targets[kind]
        reason, _ = why_lost(RecordedStream(source=f"{web.url}/video", engine=engine, open_timeout_s=1.5))
        # OpenCV's older FFmpeg takes any address for a web address, which is a redirect to another web server.
        assert (camera.set_ups, camera.requests if engine == "av" else 0) == ([], 0)
    assert reason is AwayReason.BLOCKED or kind == "tcp" or engine == "opencv"


def test_a_redirect_to_another_web_server_gets_no_credentials() -> None:
    with WebCamera() as first, WebCamera() as other:
        first.redirects["/video"] = f"{other.url}/video.mjpg"
        assert RecordedStream(source=f"{first.url}/video", username="viewer", password="secretpw").take(3)
        assert other.authorizations == [None]


def test_a_file_address_is_read_as_its_path(clip: Path) -> None:
    assert RecordedStream(source=clip.as_uri()).take(3) == [0, 1, 2]


# -- the pace of what comes in bursts


def test_pictures_that_came_at_once_have_their_turns_in_their_own_rhythm() -> None:
    pace = Pace()
    assert [pace.turn_s(at_s, 100.0) for at_s in (5.0, 5.5, 7.0)] == [100.0, 100.5, 102.0]


def test_a_picture_that_is_late_moves_all_that_follow() -> None:
    pace = Pace()
    assert pace.turn_s(0.0, 100.0) == 100.0
    assert pace.turn_s(1.0, 104.0) == 104.0
    assert pace.turn_s(2.0, 104.0) == 105.0


@pytest.mark.parametrize("jump_s", [-50.0, 31.0, 1e9])
def test_a_jump_of_the_times_is_not_waited_for(jump_s: float) -> None:
    pace = Pace()
    pace.turn_s(100.0, 7.0)
    assert pace.turn_s(100.0 + jump_s, 7.5) == 7.5
    assert pace.turn_s(101.0 + jump_s, 7.5) == pytest.approx(8.5)
