"""StreamSettings: one entry of `streams:` in framesift.yaml, and the address that a reader opens.

Credentials stand either in a camera's address or in the keys `username` and `password`, never in both. They never
appear in `repr` or in `redacted_source`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import ConfigDict, SecretStr, ValidationError, model_validator

from framesift.config.addresses import address_hint
from framesift.config.redact import is_malformed_address, redact_url
from framesift.streams.engines.availability import gstreamer_problem, has_pyav
from framesift.streams.gstreamer_pipeline import pipeline_problem, pipeline_secrets, redacted_pipeline
from framesift.streams.network_address import NetworkAddress
from framesift.streams.picture_names import PICTURE_SUFFIXES, has_wildcard
from framesift.streams.stream_fields import ChosenEngine, StreamFields

_RTSP = ("rtsp", "rtsps")
_HTTP = ("http", "https")
_NETWORK = (*_RTSP, *_HTTP)
_TLS = ("rtsps", "https")
_FILE = re.compile(r"file://(?:localhost)?(?=/)", re.IGNORECASE)
_SOURCES = (
    "source is a file's path, a webcam's index, or an address that begins with rtsp://, rtsps://, http://, https:// or "
    "file:///"
)
_VIDEO_DEVICE = re.compile(r"/dev/video(\d{1,3})")
_DEVICE_LINKS = "/dev/v4l/"  # by-id, by-path: names that stay when devices are plugged in another order

_BESIDE_A_PIPELINE = (
    *("name", "source", "engine", "fps", "tags", "rotate"),
    *("open_timeout_s", "read_timeout_s", "snapshot"),
)


def webcam_index(device: Path) -> int | None:
    """Return N of the device /dev/videoN, also by a link that leads to it; None where it leads nowhere or elsewhere."""
    found = _VIDEO_DEVICE.fullmatch(os.path.realpath(device))
    return int(found.group(1)) if found else None


class StreamSettings(StreamFields):
    """One entry of `streams:`, with what must fit together, and what the program asks about its source."""

    model_config = ConfigDict(hide_input_in_errors=True)  # the source may carry a password

    @model_validator(mode="after")
    def _sensible(self) -> StreamSettings:
        if self.engine == "gstreamer":
            self._check_pipeline()
        else:
            self._check_source()
        self._check_snapshot()
        return self

    def _check_source(self) -> None:
        if isinstance(self.source, str) and any(not character.isprintable() for character in self.source):
            raise ValueError(f"stream {self.name!r}: source has characters that can't be printed")
        hint = address_hint(self.source, (*_NETWORK, "file")) if isinstance(self.source, str) else None
        if hint is not None:
            raise ValueError(f"stream {self.name!r}: {_SOURCES}; {hint}")
        if isinstance(self.source, str) and re.fullmatch(r"[0-9]{1,3}", self.source):
            raise ValueError(
                f"stream {self.name!r}: source {self.source!r} is a text: a webcam's number has no quotes "
                f"(source: {int(self.source)}), and a file of that name is ./{self.source}"
            )
        url = self._url()
        if url is not None or (isinstance(self.source, str) and is_malformed_address(self.source)):
            self._check_url(url)
        elif self.username is not None or self.password is not None:
            raise ValueError(
                f"stream {self.name!r}: username and password are for rtsp, rtsps, http and https sources only"
            )
        self._check_connection("" if url is None else url.scheme)
        self._check_pictures()
        if self.pace == "realtime" and (not self.is_path or self.is_pictures):
            raise ValueError(f"stream {self.name!r}: pace is for video files only")
        if self.follow and (not self.is_path or self.is_pictures):
            raise ValueError(f"stream {self.name!r}: follow is for video files only; a folder has watch")
        if self.follow and (self.loop or self.pace == "realtime"):
            raise ValueError(f"stream {self.name!r}: follow has no effect with loop or pace; remove one of them")
        if self.is_fifo and (self.loop or self.follow or self.pace == "realtime"):
            raise ValueError(f"stream {self.name!r}: loop, follow and pace are not for FIFOs")
        self._check_engine()
        if self.loop and not self.is_path:
            raise ValueError(f"stream {self.name!r}: loop is for files only")

    def _check_snapshot(self) -> None:
        if self.snapshot is None:
            return
        where, key = f"stream {self.name!r}: snapshot", "url" if self.snapshot.source is None else "source"
        if not self.is_camera:
            raise ValueError(f"{where} is for cameras only, and not for files and folders: remove it")
        allowed = _HTTP if key == "url" else _NETWORK
        if self._snapshot_scheme not in allowed:
            beginnings = ", ".join(f"{scheme}://" for scheme in allowed)
            raise ValueError(f"{where}.{key} must begin with one of these: {beginnings}")
        if key == "source" and not has_pyav():
            advice = "pip install 'framesift[av]', or give the url of a JPEG in its place"
            raise ValueError(f"{where}.source needs PyAV, which is not installed; {advice}")
        try:
            self.snapshot_stream()
        except ValidationError as error:
            _, _, what = error.errors()[0]["msg"].partition(": ")
            raise ValueError(f"{where}: {what}") from None
        except ValueError:
            raise ValueError(f"{where}.{key}: the address can't be read") from None

    def snapshot_stream(self) -> StreamSettings:
        """Return the stream that gives the snapshots, or the url, as a stream of its own. Only with a `snapshot`."""
        assert self.snapshot is not None
        username, password = self.snapshot.username, self.snapshot.password
        url, own = urlsplit(self.snapshot.address), self.network_address()
        is_given = username is not None or password is not None or "@" in url.netloc
        if not is_given and own is not None and url.hostname == own.url.hostname:
            username, password = own.username, None if own.password is None else SecretStr(own.password)
        is_tls = url.scheme in _TLS
        return StreamSettings(
            name=f"{self.name[:55]}.snapshot",
            source=self.snapshot.address,
            username=username,
            password=password,
            transport=self.transport if url.scheme in _RTSP else None,
            ca_file=self.ca_file if is_tls else None,
            verify=self.verify or not is_tls,
            open_timeout_s=self.open_timeout_s,
            read_timeout_s=self.read_timeout_s,
            threads=self.threads if self.snapshot.source else None,
            rotate=self.rotate,
        )

    @property
    def _snapshot_scheme(self) -> str:
        return "" if self.snapshot is None else self.snapshot.address.partition("://")[0]

    def _check_pictures(self) -> None:
        if self.watch and not self.is_path:
            raise ValueError(f"stream {self.name!r}: watch is for folders of pictures only")
        if self.is_path and not self.is_pictures and "*" in self.path.name and not self.path.exists():
            allowed = ", ".join(PICTURE_SUFFIXES)
            raise ValueError(f"stream {self.name!r}: a pattern is for pictures, which end in {allowed}")
        if self.is_path and any(wildcard in str(self.path.parent) for wildcard in "*?"):
            raise ValueError(f"stream {self.name!r}: * and ? may stand in the last part of source only")
        if not self.is_pictures:
            return
        wrong = [
            key
            for key, is_set in (
                ("engine", self.engine != "auto"),
                ("decode", self.decode != "all"),
                ("threads", self.threads is not None),
                ("show_damaged", self.show_damaged),
                ("loop with watch", self.loop and self.watch),
                ("fps with watch", self.fps is not None and self.watch),
            )
            if is_set
        ]
        if wrong:
            raise ValueError(f"stream {self.name!r}: {' and '.join(wrong)} can't be used with a folder of pictures")

    def _check_pipeline(self) -> None:
        what = pipeline_problem(str(self.source))
        if what:
            raise ValueError(f"stream {self.name!r}: engine is gstreamer, so {what}")
        # What a stream that extends this class has besides is not about reading.
        given = [
            key
            for key, field in StreamSettings.model_fields.items()
            if key not in _BESIDE_A_PIPELINE and getattr(self, key) != field.default
        ]
        if given:
            words = f"{' and '.join(given)} can't be given with engine gstreamer; say it in the pipeline"
            raise ValueError(f"stream {self.name!r}: {words}")
        what = gstreamer_problem()
        if what:
            advice = "use the system's own OpenCV, as JetPack and Debian's python3-opencv bring it, or engine: auto"
            raise ValueError(f"stream {self.name!r}: engine is gstreamer, but {what}; {advice}")

    def _check_connection(self, scheme: str) -> None:
        schemes = {scheme, self._snapshot_scheme}
        if self.transport is not None and not schemes & set(_RTSP):
            raise ValueError(f"stream {self.name!r}: transport is for rtsp:// and rtsps:// sources only")
        if self.transport == "udp" and scheme == "rtsps":
            raise ValueError(f"stream {self.name!r}: rtsps:// goes over TCP only, since UDP would not be encrypted")
        if (self.ca_file is not None or not self.verify) and not schemes & set(_TLS):
            raise ValueError(f"stream {self.name!r}: ca_file and verify are for rtsps:// and https:// sources only")
        if self.ca_file is not None and not self.verify:
            raise ValueError(f"stream {self.name!r}: ca_file has no effect with verify: false; remove one of them")

    def _check_engine(self) -> None:
        if self.engine == "av" and self.webcam is not None:
            raise ValueError(f"stream {self.name!r}: engine av reads no webcams; allowed are auto and opencv")
        if self.engine == "av" and not has_pyav():
            advice = "pip install 'framesift[av]', or engine: auto"
            raise ValueError(f"stream {self.name!r}: engine is av, but PyAV is not installed; {advice}")
        only_av = [
            key
            for key, is_set in (
                ("decode: keyframes", self.decode != "all"),
                ("threads", self.threads is not None and self.webcam is not None),
                ("show_damaged", self.show_damaged),
                ("follow", self.follow),
            )
            if is_set
        ]
        if only_av and self.chosen_engine != "av":
            without = "webcams, and all streams without PyAV, are read by OpenCV"
            why = "engine is opencv" if self.engine == "opencv" else without
            raise ValueError(f"stream {self.name!r}: {' and '.join(only_av)} need the engine av; {why}")

    @property
    def chosen_engine(self) -> ChosenEngine:
        """The engine that reads it: `auto` is PyAV where it is installed, but OpenCV for webcams and pictures."""
        if self.engine != "auto":
            return self.engine
        return "av" if self.webcam is None and not self.is_pictures and has_pyav() else "opencv"

    def _check_url(self, url: SplitResult | None) -> None:
        # None of these messages may show the source: it can hold a password in a place where nobody looks for one.
        hint = "give username and password as keys of their own, or percent-encode them in the address"
        if url is None or url.scheme not in _NETWORK:
            scheme = "" if url is None else f", not {url.scheme}://"
            raise ValueError(f"stream {self.name!r}: {_SOURCES}{scheme}")
        try:
            host, _port = url.hostname, url.port
        except ValueError:
            raise ValueError(f"stream {self.name!r}: the source's address has no valid port; {hint}") from None
        if not host or " " in host:
            example = "rtsp://10.0.0.5/stream1"
            raise ValueError(f"stream {self.name!r}: the source's address has no valid host, as in {example}; {hint}")
        in_url = url.username is not None or url.password is not None
        if in_url and (self.username is not None or self.password is not None):
            raise ValueError(
                f"stream {self.name!r}: credentials stand both in the source's address and in username or password; "
                "give them once"
            )
        if self.password is not None and self.username is None:
            raise ValueError(f"stream {self.name!r}: a password needs a username")
        if self.password is not None and not self.password.get_secret_value().isprintable():
            raise ValueError(f"stream {self.name!r}: password has characters that can't be printed")

    @property
    def is_live(self) -> bool:
        """Whether it is a camera, or plays one: it goes on whether its pictures are read or not."""
        return self.is_camera or self.pace == "realtime"

    @property
    def is_camera(self) -> bool:
        """Whether its pictures come from somebody else at their own times: an address, a webcam, or a FIFO."""
        return not self.is_path or self.is_fifo

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO that is there now."""
        return self.is_path and self.path.is_fifo()

    @property
    def has_end(self) -> bool:
        """Whether it ends by itself, once each of its pictures was read."""
        return not self.is_camera and not (self.loop or self.watch or self.follow)

    @property
    def is_path(self) -> bool:
        """Whether it is something on this machine's disks: a video file, or a folder of pictures."""
        if self.engine == "gstreamer":
            return False
        is_path = isinstance(self.source, str) and ("://" not in self.source or _FILE.match(self.source) is not None)
        return is_path and self.webcam is None

    @property
    def path(self) -> Path:
        """The path of the file, the folder or the pattern; only where `is_path`."""
        return Path(self._path_text)

    @property
    def is_pictures(self) -> bool:
        """Whether it is a folder of pictures, or a pattern for the names of some. The name of a file is no pattern."""
        if not self.is_path:
            return False
        if self.watch or self._path_text.endswith("/"):
            return True
        suffix = self.path.suffix.lower()
        is_pattern = has_wildcard(self.path.name) and (not suffix or has_wildcard(suffix) or suffix in PICTURE_SUFFIXES)
        return self.path.is_dir() or (is_pattern and not self.path.exists())

    @property
    def folder(self) -> Path:
        """The folder in which the pictures are; only where `is_pictures`."""
        return self.path.parent if self.pattern else self.path

    @property
    def pattern(self) -> str:
        """The pattern for the names of the pictures, "" for all; only where `is_pictures`."""
        name = "" if self._path_text.endswith("/") else self.path.name
        return name if has_wildcard(name) and not self.path.is_dir() else ""

    @property
    def _path_text(self) -> str:
        source = str(self.source)
        found = _FILE.match(source)
        return source if found is None else unquote(source[found.end() :])

    @property
    def webcam(self) -> Path | None:
        """The device of the webcam, /dev/videoN or a link to it; None if the source is no webcam."""
        if isinstance(self.source, int):
            return Path(f"/dev/video{self.source}")
        if self.engine == "gstreamer":
            return None
        is_webcam = self.source.startswith(_DEVICE_LINKS) or _VIDEO_DEVICE.fullmatch(self.source)
        return Path(self.source) if is_webcam else None

    @property
    def redacted_source(self) -> str:
        """The source without credentials, as it may be shown."""
        if self.engine == "gstreamer":
            return redacted_pipeline(str(self.source))
        return redact_url(self.source) if isinstance(self.source, str) else f"webcam {self.source}"

    def address(self) -> str:
        """The source with its credentials, for the reader only."""
        address = self.network_address()
        if address is not None:
            return address.text()
        return str(self.path) if self.is_path else str(self.source)

    def secrets(self) -> Iterable[str]:
        """All secrets of this stream, in the spellings that a decoder might print. No log line may show them."""
        if self.snapshot is not None:
            yield from self.snapshot_stream().secrets()
        if self.engine == "gstreamer":
            yield from pipeline_secrets(str(self.source))
        address = self.network_address()
        if address is not None:
            yield from address.secrets()

    def network_address(self) -> NetworkAddress | None:
        """The address with its credentials; None where the source is none."""
        url = self._url()
        beside = None if self.password is None else self.password.get_secret_value()
        return None if url is None else NetworkAddress(url, self.username, beside)

    def _url(self) -> SplitResult | None:
        if isinstance(self.source, int) or self.engine == "gstreamer":
            return None
        if "://" not in self.source or _FILE.match(self.source):
            return None
        try:
            return urlsplit(self.source)
        except ValueError:
            raise ValueError(f"stream {self.name!r}: the source's address can't be read") from None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Fields for `repr`, with the redacted source."""
        for name, value in super().__repr_args__():
            yield name, self.redacted_source if name == "source" else value
