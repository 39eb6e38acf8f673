"""Status: HTTP pages about the running daemon, and what an operator can make it do.

    /healthz   200 while every thread moves, 503 otherwise           (alive: restart the daemon if not)
    /readyz    200 unless a component has failed or hangs, 503       (ready: a person should look at it if not)
    /metrics   the numbers, for Prometheus
    /status    the numbers and the health of each component, as one JSON object

Pages are answered to GET and change nothing; actions (see actions.py) are a POST of JSON, and no web page of another
origin can send one. No unauthorized client can keep others from an answer. Without a token, a request must come from
this machine and name it by a local name: a web page whose own name resolves to 127.0.0.1 is refused because of its Host
header. With a token, the token alone decides who asks.
"""

from framesift.status.actions import ActionRefused, Hands, Operator
from framesift.status.answers import StatusAnswer, page_answer
from framesift.status.identity import DaemonIdentity
from framesift.status.page_access import key_file, page_key
from framesift.status.server import StatusServer, StatusUnavailable

__all__ = [
    "ActionRefused",
    "DaemonIdentity",
    "Hands",
    "Operator",
    "StatusAnswer",
    "StatusServer",
    "StatusUnavailable",
    "key_file",
    "page_answer",
    "page_key",
]
