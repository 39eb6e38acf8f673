"""What can become of a request to a listener, apart from the decision of sampling: one closed list, all counted."""

from __future__ import annotations

from enum import Enum


class RequestOutcome(str, Enum):
    """Outcome of a request. The values are the label `outcome` of the metric framesift_door_requests_total.

    "Forwarded" means: sent to the inference server, and its response to the client, but not sampled.
    """

    OFFERED = "offered"  # picture and prediction were offered to sampling, which has its own counters
    REFUSED = "refused"  # invalid; the client was told why
    PASSED = "passed"  # forwarded; there was nothing to sample
    NOT_WANTED = "not_wanted"  # forwarded; the client disables active learning
    NO_IMAGE_DATA = "elsewhere"  # forwarded; the picture is given by an address, or as an array
    TOO_LARGE = "too_large"  # forwarded; the request or the response is larger than a copy may be
    UNREADABLE = "unreadable"  # forwarded; picture or response can't be read, or they don't belong together
    FOREIGN_HOST = "foreign_host"  # forwarded; it was sent by a web page of another machine
    NO_POLICY = "no_policy"  # forwarded; no policy exists for its project, or not for such a model
    NO_POLICY_YET = "no_policy_yet"  # forwarded; its policy was never fetched, and can't be fetched now
    TOO_MANY_MODELS = "too_many_models"  # forwarded; the maximum number of models have their policies already
    BUSY = "door_busy"  # forwarded or answered 503; too many requests are waiting
    FAILED = "failed"  # forwarded; sampling raised an unexpected exception
    UPSTREAM_GONE = "upstream_gone"  # the inference server could not be reached, or sent no response

    def __str__(self) -> str:
        return self.value
