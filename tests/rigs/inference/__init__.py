"""A stand-in for the inference server: a real HTTP server that looks at the pictures it gets, and fails as told."""

from canaries import KEY
from rigs.inference.detector import BACKGROUND, CLASSES, Rectangle, painted
from rigs.inference.requests import Wanted
from rigs.inference.server import MODELS, InferenceServer, Received
from rigs.platform.faults import Answer, BadJson, Cut, Delay, Html, Order, Oversized, Redirect, Status, Trickle

__all__ = [
    "BACKGROUND",
    "CLASSES",
    "KEY",
    "MODELS",
    "Answer",
    "BadJson",
    "Cut",
    "Delay",
    "Html",
    "InferenceServer",
    "Order",
    "Oversized",
    "Received",
    "Rectangle",
    "Redirect",
    "Status",
    "Trickle",
    "Wanted",
    "painted",
]
