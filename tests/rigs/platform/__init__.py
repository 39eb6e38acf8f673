"""A stand-in for the labelling platform: a real HTTP server that keeps what it gets and fails as the test orders."""

from canaries import KEY
from rigs.platform.faults import (
    Answer,
    BadJson,
    Cut,
    Delay,
    Fault,
    Faults,
    Html,
    Oversized,
    Redirect,
    SayDuplicate,
    Status,
    Trickle,
)
from rigs.platform.records import Call, Received, StoredAnnotation, StoredBatch, StoredImage
from rigs.platform.server import WORKSPACE, Platform

__all__ = [
    "KEY",
    "WORKSPACE",
    "Answer",
    "BadJson",
    "Call",
    "Cut",
    "Delay",
    "Fault",
    "Faults",
    "Html",
    "Oversized",
    "Platform",
    "Received",
    "Redirect",
    "SayDuplicate",
    "Status",
    "StoredAnnotation",
    "StoredBatch",
    "StoredImage",
    "Trickle",
]
