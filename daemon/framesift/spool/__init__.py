"""The spool: the durable queue between the cameras' side and the sink's side. It survives a power cut.

    put                     claim                    complete
    ----> ready ---------------------> sending -----------------> removed, with one final outcome
            ^                          |  |  |
            |   retry_later, release   |  |  |   mark_registered
            +--------------------------+  |  +--------------> registered ---> (claim: sending again, and so on)
            ^                             v bury
            +- by an operator --------- buried

The spool is one SQLite file: what is known of a datapoint (written once), how far its delivery is (one small row that
changes), and its JPEG and prediction (written once), in three tables: see `schema`. Invariants:

1. After `put` has returned, the datapoint survives SIGKILL and power loss, until it leaves with a final outcome.
2. For every strategy and window, charges never exceed the limit. (Only an operator can override this, by releasing a
   buried datapoint whose quota was refunded.)
3. After start-up no row is `sending`.
4. No thread holds the database while it talks to the network.
5. Live pages and the write-ahead log stay under `max_bytes`, and no write leaves less than `min_free_bytes` on the
   disk. When full: evict the lowest score first (no score counts as 0, equal scores oldest first), evict the oldest, or
   refuse the new datapoint; never evict a row that is being sent. A reserve of 8 MiB is released when the disk is full,
   and allocated again later.
6. A datapoint that can't be delivered never blocks another one. After its last attempt it is buried; an operator can
   list and release it. A row that can't be read, for any reason, is buried when it is claimed.
7. An older program refuses a newer file without changing it. Start-up reads no images and uses O(1) memory.
8. No damage of the file prevents the start of the program, or the delivery of a row that can be read. Single flipped
   bits of the header, the list of tables and the write-ahead log are repaired. A file with any other damage is moved
   aside and kept; everything readable is copied to a new file, and the rest is counted. If some charges can't be
   copied, the open windows count as used up. Rows have checksums, and pictures a hash: a flipped bit in any column is
   noticed when the row is claimed, at the start, or within an hour.

The module `claim_order` describes the order in which rows are claimed.
"""

from framesift.spool.held import HeldContent, HeldFrames, HeldRow
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
    refusal_reason,
)
from framesift.spool.signatures import AcceptedSignature, StoredSignature, StoredSignatures
from framesift.spool.spool import Spool

__all__ = [
    "Accepted",
    "AcceptedSignature",
    "Claim",
    "ClaimedDatapoint",
    "FinalOutcome",
    "HeldContent",
    "HeldFrames",
    "HeldRow",
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
    "StoredSignature",
    "StoredSignatures",
    "WhenFull",
    "refusal_reason",
]
