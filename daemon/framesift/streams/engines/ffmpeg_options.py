"""FFmpeg's options for a source: how it is reached, and the closed list of protocols that may be used for it."""

from __future__ import annotations

from urllib.parse import urlsplit

from framesift.streams.channel import OpenRequest


def ffmpeg_options(request: OpenRequest) -> dict[str, str]:
    """Return the options: TCP, only the protocols that this source needs, and its probe before the first picture."""
    if not request.live:
        return {"protocol_whitelist": "file"}
    scheme = urlsplit(request.address).scheme
    options = {
        "rtsp_transport": "tcp",
        "allowed_media_types": "video",
        "protocol_whitelist": f"rtp,tcp,{'rtsps,tls' if scheme == 'rtsps' else 'rtsp'}",
    }
    if request.short_probe:
        options |= {"analyzeduration": "200000", "probesize": "32768"}
    return options
