"""What can become of a request at a door, beside the verdict of sampling: one closed list, each with a counter."""

from __future__ import annotations

from enum import Enum


class RequestOutcome(str, Enum):
    OFFERED = "offered"  # picture and prediction went to sampling, which counts for itself
    REFUSED = "refused"  # a datapoint that was no good: its client was told why
    PASSED = "passed"  # through to the inference server and back, with nothing in it to sample
    NOT_WANTED = "not_wanted"  # passed; its client disables active learning
    NO_IMAGE_DATA = "elsewhere"  # passed; the picture is named by an address, or comes as an array
    TOO_LARGE = "too_large"  # passed; more than is kept of a request or an answer
    UNREADABLE = "unreadable"  # passed; its picture or its answer can't be read, or they don't belong together
    FOREIGN_HOST = "foreign_host"  # passed; it called this machine by a name that isn't its own, as web pages do
    NO_POLICY = "no_policy"  # passed; there is no policy for where it should go, or not for such a model
    NO_POLICY_YET = "no_policy_yet"  # passed; that policy was never heard of, and can't be asked for now
    TOO_MANY_MODELS = "too_many_models"  # passed; the policies of so many models are known already
    BUSY = "door_busy"  # passed, or turned away: too much was waiting
    FAILED = "failed"  # passed; sampling it raised what it should not have
    UPSTREAM_GONE = "upstream_gone"  # the inference server could not be reached, or did not answer

    def __str__(self) -> str:
        return self.value
