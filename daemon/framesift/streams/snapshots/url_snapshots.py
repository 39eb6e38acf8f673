"""UrlSnapshots: fetches the JPEG that a camera, or a program beside it, gives at an address."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.error import URLError
from urllib.request import (
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    Request,
    parse_http_list,
    parse_keqv_list,
)

import numpy as np
from urllib3 import make_headers

from framesift.clock.clock import MAX_WAIT_S, Clock, HeartbeatClock, MonitoredThread
from framesift.frame import Frame, LazyPicture, Pixels
from framesift.http_client import HttpClient, HttpRequest, HttpResponse, NoResponse
from framesift.pictures.encoded_picture import MAX_BYTES, BadPicture, LazyEncodedPicture, parse_picture
from framesift.streams.away_reasons import AwayReason
from framesift.streams.engines.orientation import Orientation
from framesift.streams.snapshots.ticket import (
    SkewMeasure,
    SnapshotMissed,
    SnapshotMissReason,
    SnapshotPicture,
    SnapshotTicket,
)
from framesift.streams.stream_events import StreamEvent, StreamObserver, StreamState
from framesift.streams.stream_settings import StreamSettings

_LEAST_TIME_S = 0.01  # below it, a request is not worth sending
_REASONS = {401: AwayReason.UNAUTHORIZED, 403: AwayReason.FORBIDDEN, 404: AwayReason.NOT_FOUND}


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    frame: Frame  # only its moment is used
    ticket: SnapshotTicket


class UrlSnapshots:
    """Fetches one JPEG at a time, in a thread of its own. A component. Thread-safe.

    name: of the component. wait_s: how long a frame may wait. `observer` receives the changes between RUNNING and LOST,
    as events of the stream `<stream>.snapshot`.
    """

    def __init__(
        self, settings: StreamSettings, *, clock: Clock, client: HttpClient, observer: StreamObserver | None = None
    ) -> None:
        """settings: of the stream that the model sees, with a `snapshot` that has a `url`."""
        assert settings.snapshot is not None
        self._stream = settings.snapshot_stream()
        address = self._stream.network_address()
        assert address is not None
        self._address = address
        self._max_skew_s = settings.snapshot.max_skew_s
        self._clock = HeartbeatClock(clock)
        self._client = client
        self._observer = observer or StreamObserver()
        self._changed = threading.Condition()
        self._asked: deque[_Asked] = deque()
        self._is_closed = False
        self._url = address.without_credentials()
        self._passwords = HTTPPasswordMgrWithDefaultRealm()
        self._logins = HTTPDigestAuthHandler(self._passwords)
        self._digest: dict[str, str] | None = None  # the camera's challenge, once it came
        self._basic: str | None = None  # the header, once the camera has asked for it
        self._state, self._detail = StreamState.CONNECTING, ""
        self._thread = threading.Thread(target=self._run, name=self._stream.name, daemon=True)
        self.name = f"snapshots of {settings.name}"
        self.wait_s = settings.snapshot.wait_s
        self.threads: Sequence[MonitoredThread] = (MonitoredThread(self.name, self._thread, self._clock),)

    def start(self) -> None:
        """Start the thread. Nothing is fetched before it is asked for."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """End the thread, and return whether it ended in time. Waiting requests are answered."""
        self.close()
        if self._thread.ident is not None:
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Answer the requests that wait, now. Never waits."""
        with self._changed:
            self._is_closed = True
            for asked in self._asked:
                asked.ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY, "the stream ends"))
            self._changed.notify_all()

    def idle_s(self) -> float:
        """Return the seconds since its thread last moved; 0 if it has not started or has ended."""
        return self.threads[0].idle_s()

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:
        """Ask for a picture as soon as possible. Never blocks. deadline_s: boot time."""
        ticket = SnapshotTicket(self._clock, deadline_s)
        with self._changed:
            if self._is_closed:
                ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY, "the stream ends"))
            else:
                self._asked.append(_Asked(frame, ticket))
                self._changed.notify_all()
        return ticket

    def _run(self) -> None:
        while (asked := self._next()) is not None:
            if not asked.ticket.is_answered:
                asked.ticket.answer(self._fetch(asked))
            with self._changed:
                self._asked.popleft()

    def _next(self) -> _Asked | None:
        while True:
            self._clock.monotonic()
            with self._changed:
                if self._is_closed:
                    return None
                if self._asked:
                    return self._asked[0]
                self._changed.wait(MAX_WAIT_S)

    def _fetch(self, asked: _Asked) -> SnapshotPicture | SnapshotMissed:
        began = self._clock.now()
        response = self._exchange(asked.ticket.deadline_s)
        ended = self._clock.now()
        if not isinstance(response, HttpResponse):
            is_late = isinstance(response, NoResponse) and ended.boottime_s >= asked.ticket.deadline_s
            why = "" if response is None else response.why
            self._set_state(StreamState.LOST, why, AwayReason.SILENT if is_late else AwayReason.REFUSED)
            return SnapshotMissed(SnapshotMissReason.NO_PICTURE if is_late else SnapshotMissReason.AWAY, why)
        if response.status != 200:
            why = f"the address of the snapshot answered with status {response.status}"
            self._set_state(StreamState.LOST, why, _REASONS.get(response.status, AwayReason.SERVER_ERROR))
            return SnapshotMissed(SnapshotMissReason.AWAY, why)
        try:
            picture = self._read(response.body)
        except BadPicture as error:
            self._set_state(StreamState.LOST, f"what came is no picture: {error}", AwayReason.DECODER)
            return SnapshotMissed(SnapshotMissReason.DECODER, str(error))
        self._set_state(StreamState.RUNNING, "")
        half_s = (ended.boottime_s - began.boottime_s) / 2
        skew_s = began.boottime_s + half_s - asked.frame.captured.boottime_s
        if abs(skew_s) > self._max_skew_s:
            return SnapshotMissed(SnapshotMissReason.SKEW, f"it came {skew_s:.2f} s after the frame")
        return SnapshotPicture(
            picture,
            skew_s=skew_s,
            uncertain_s=half_s,
            measured_by=SkewMeasure.REQUEST,
            sent_s=None,
            taken_at=replace(began, boottime_s=began.boottime_s + half_s, wall_s=began.wall_s + half_s),
        )

    def _read(self, content: bytes) -> Pixels | LazyPicture:
        """Raises BadPicture."""
        picture = LazyEncodedPicture(parse_picture(content))
        picture.overview()  # what can't be decoded is not kept
        if not self._stream.rotate:
            return picture
        return np.ascontiguousarray(Orientation().turned(self._stream.rotate).apply(picture.pixels))

    def _exchange(self, deadline_s: float) -> HttpResponse | NoResponse | None:
        """Ask once, or twice where the camera wants Digest authentication; None if there is no time for it."""
        response: HttpResponse | NoResponse | None = None
        for _ in range(2):
            left_s = deadline_s - self._clock.now().boottime_s
            if left_s < _LEAST_TIME_S:
                return response
            response = self._client.exchange(self._request(), within_s=left_s, max_bytes=MAX_BYTES)
            if not isinstance(response, HttpResponse) or response.status != 401 or not self._learn(response):
                break
        return response

    def _request(self) -> HttpRequest:
        """The password is sent only where the camera has asked for it, and in the way that it has asked for."""
        header = self._basic
        if self._digest is not None:
            with suppress(ValueError, KeyError, URLError):  # a challenge that nobody can meet
                header = f"Digest {self._logins.get_authorization(Request(self._url), self._digest)}"
        return HttpRequest("GET", self._url, headers={} if header is None else {"Authorization": header})

    def _learn(self, response: HttpResponse) -> bool:
        """Take the camera's challenge. Return whether to ask once more."""
        username, password = self._address.username, self._address.password or ""
        scheme, _, parameters = response.headers.get("WWW-Authenticate", "").partition(" ")
        if username is None:
            return False
        if scheme.lower() == "digest":
            self._passwords.add_password(None, self._url, username, password)  # for any realm
            self._digest = parse_keqv_list([part for part in parse_http_list(parameters) if "=" in part])
            return True
        is_new = scheme.lower() == "basic" and self._basic is None
        self._basic = make_headers(basic_auth=f"{username}:{password}")["authorization"] if is_new else self._basic
        return is_new

    def _set_state(self, state: StreamState, detail: str, reason: AwayReason | None = None) -> None:
        before, self._state, self._detail = (self._state, self._detail), state, detail
        event = StreamEvent(self._stream.name, state, detail, reason)
        if state is not before[0]:
            self._observer.on_event(event)
        elif detail != before[1]:
            self._observer.on_reason(event)
