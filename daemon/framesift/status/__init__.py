"""Status: the read-only window on a running daemon, over HTTP.

    /healthz   200 while every loop moves, 503 otherwise          (alive: restart me if not)
    /readyz    200 unless a component has failed or is stuck, 503 (ready: look at me if not)
    /metrics   the numbers, for Prometheus
    /status    the numbers and the health of each component, as one JSON object

Only GET is answered, and nothing that strangers do keeps others from it. Whoever asks without a token must be
on this machine and know it by a local name: a web page that has its own name resolve to 127.0.0.1 is turned away by its
Host header. With a token, the token alone decides.
"""

from framesift.status.server import StatusServer, StatusUnavailable

__all__ = ["StatusServer", "StatusUnavailable"]
