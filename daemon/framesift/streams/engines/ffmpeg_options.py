"""FFmpeg's options for a source: how it is reached, and the closed lists of what it may lead to.

What comes from the network can name further addresses: a redirect, the segments and keys of a playlist, the streams of
an SDP file. FFmpeg would open each of them, files of this machine included, unless it is given lists.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from framesift.streams.channel import OpenRequest

# By the beginning of the address. A camera on HTTP may redirect to HTTPS, but nothing leads from TLS to plain text.
_PROTOCOLS = {
    "rtsp": "rtp,tcp,rtsp",
    "rtsps": "rtp,tcp,rtsps,tls",
    "http": "http,https,tcp,tls,crypto",  # crypto: of encrypted HLS
    "https": "https,tcp,tls,crypto",
}
# Of HTTP sources: MJPEG and HLS, and what HLS's segments consist of. No format that is a list of other addresses.
_HTTP_FORMATS = "mpjpeg,hls,mpegts,mov,aac,mp3,ac3,eac3,webvtt"
# Of FIFOs and files that are being written: what can be read from front to back. None of them names other files.
_WRITTEN_FORMATS = "mpegts,matroska,webm,mov,mp4,mjpeg,mpjpeg,flv,mpeg,h264,hevc,ivf,nut,yuv4mpegpipe,avi,ogg"


def ffmpeg_options(request: OpenRequest) -> dict[str, str]:
    """Return the options: the transport, what may be opened, whom to trust, and the probe before the first picture."""
    if request.fifo or request.follow:
        probe = {"analyzeduration": "200000", "probesize": "32768"} if request.fifo and request.short_probe else {}
        return {"format_whitelist": _WRITTEN_FORMATS, **probe}
    if request.local:
        return {"protocol_whitelist": "file"}
    scheme = urlsplit(request.address).scheme
    options = {"protocol_whitelist": _PROTOCOLS.get(scheme, "")}
    if request.ca_file and scheme != "rtsp":
        options |= {"tls_verify": "1", "ca_file": request.ca_file}
    if scheme in ("http", "https"):
        return options | {"format_whitelist": _HTTP_FORMATS}
    options |= {"rtsp_transport": request.transport or "tcp", "allowed_media_types": "video"}
    if request.transport == "udp":
        options["protocol_whitelist"] += ",udp"
    else:
        options["reorder_queue_size"] = "2"  # nothing is reordered, but without a queue lost packets are not noticed
    if request.short_probe:
        options |= {"analyzeduration": "200000", "probesize": "32768"}
    return options


def as_opencv_text(options: dict[str, str]) -> str:
    """Return the options in the form that OpenCV reads. Raises ValueError for a value that this form can't express."""
    for name, value in options.items():
        if any(separator in value for separator in "|;"):
            raise ValueError(f"{name} has a character that OpenCV can't be given (| or ;)")
    return "|".join(f"{name};{value}" for name, value in options.items())
