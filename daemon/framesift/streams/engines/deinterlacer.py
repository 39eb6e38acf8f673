"""Deinterlacer: whole pictures of interlaced ones, by FFmpeg's bwdif."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame


class Deinterlacer:
    """Hands pictures on, and makes whole ones of interlaced ones. For one thread.

    Pictures that are not interlaced pass without delay until the first that is. From then on each comes out when the
    next goes in, since bwdif looks at both neighbours of a picture.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def push(self, frame: VideoFrame) -> list[VideoFrame]:
        """Take a picture in, and return what comes out, in order; one picture for each that went in."""
        shape = (frame.width, frame.height, frame.format.name)
        out = [] if shape == self._shape else self.flush()
        if self._graph is None:
            if not frame.interlaced_frame:
                return [*out, frame]
            self._graph, self._shape = _graph(frame), shape
        self._graph.vpush(frame)
        return out + _pull(self._graph)

    def flush(self) -> list[VideoFrame]:
        """Return what has not come out yet. The next picture begins anew."""
        graph, self._graph, self._shape = self._graph, None, None
        if graph is None:
            return []
        graph.vpush(None)
        return _pull(graph)


def _graph(frame: VideoFrame) -> av.filter.Graph:
    import av

    graph = av.filter.Graph()
    graph.threads = 1
    time_base = frame.time_base or Fraction(1, 90_000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph


def _pull(graph: av.filter.Graph) -> list[VideoFrame]:
    import av

    pulled: list[VideoFrame] = []
    while True:
        try:
            pulled.append(graph.vpull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return pulled
