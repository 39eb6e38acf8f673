"""The spool: datapoints that survive power loss, between the frames' side and the sink's side.

    put                     claim                    done
    ----> ready ---------------------> sending -----------------> gone, by one exit
            ^                          |  |  |
            |        later, release    |  |  |   registered
            +--------------------------+  |  +--------------> registered ---> (claim: sending again, and so on)
            ^                             v bury
            +---- by hand ------------- buried

One SQLite file: small rows, each with its JPEG and prediction beside it. Invariants:

1. Once `put` has returned, the datapoint survives SIGKILL and power loss, until it takes one of its exits.
2. For every strategy and window, charges never exceed the limit. (Only a person who releases a buried datapoint whose
   credit was given back can override it.)
3. After start-up no row is `sending`.
4. Nobody holds the database while talking to the network.
5. Live pages and WAL stay under `max_bytes`, and no write leaves less than `min_free_bytes` on the disk. When full:
   evict the lowest score first (none counts as 0, ties oldest first), evict the oldest, or refuse the new; never a row
   that is being sent. A reserve file of 8 MiB is given up when the disk is full, and made again later.
6. One item that can't be delivered never blocks another; after its attempts it is buried, listed, and can be released
   by hand. One that can't be read, whatever is wrong with it, is buried when it is claimed.
7. An older program refuses a newer file without touching it; start-up reads no images and takes O(1) memory.
8. No damage of the file keeps the program from starting, or a row that can be read from being delivered. Single bits
   of the header, the list of tables and the log are put right. A file that is damaged in any other way is moved aside
   and kept, and what can be read of it goes on in a new one; what can't is counted. If its charges can't be salvaged,
   the windows that are open count as spent. A bit of a column that makes a valid value another one goes unnoticed: only
   pictures and predictions have a hash.

Claims are handed out in the order that `turns` describes.
"""

from framesift.spool.records import (
    Accepted,
    Claim,
    ClaimedDatapoint,
    FinalOutcome,
    NotAccepted,
    RowInfo,
    SpoolBroken,
    SpoolCounts,
    SpoolFull,
    SpoolHealth,
    SpoolInUse,
    SpoolTooNew,
    SpoolUnavailable,
    SpoolUnusable,
    State,
    WhenFull,
)
from framesift.spool.spool import Spool

__all__ = [
    "Accepted",
    "Claim",
    "ClaimedDatapoint",
    "FinalOutcome",
    "NotAccepted",
    "RowInfo",
    "Spool",
    "SpoolBroken",
    "SpoolCounts",
    "SpoolFull",
    "SpoolHealth",
    "SpoolInUse",
    "SpoolTooNew",
    "SpoolUnavailable",
    "SpoolUnusable",
    "State",
    "WhenFull",
]
