"""A stand-in for the inference server: a real HTTP server that looks at its pictures, and fails as the test orders."""

from canaries import KEY
from rigs.inference.detector import BACKGROUND, CLASSES, Rectangle, painted
from rigs.inference.requests import InferenceRequest
from rigs.inference.server import MODELS, InferenceServer, Received
from rigs.platform.faults import Answer, BadJson, Cut, Delay, Fault, Html, Oversized, Redirect, Status, Trickle

__all__ = [
    "BACKGROUND",
    "CLASSES",
    "KEY",
    "MODELS",
    "Answer",
    "BadJson",
    "Cut",
    "Delay",
    "Fault",
    "Html",
    "InferenceRequest",
    "InferenceServer",
    "Oversized",
    "Received",
    "Rectangle",
    "Redirect",
    "Status",
    "Trickle",
    "painted",
]
