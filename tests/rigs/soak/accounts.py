"""Accounts: whether every datapoint that was ever accepted is in one place, and in no place twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rigs.soak.books import ID_CHARACTERS, PlatformBooks, SpoolBooks, total


class Accounts:
    """Compares the spool with the platform, again and again. known: the beginnings of all ids that it has ever seen."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.known = set(known)
        self._earlier: set[str] = set()  # at the platform, when it was compared last: what came since may be newer
        self._left: Mapping[str, int] = {}

    def compare(self, spool: SpoolBooks, platform: PlatformBooks, promised: Iterable[str] = ()) -> list[str]:
        """What does not fit.

        platform: as it was after `spool` was read. promised: ids that clients were answered before it was.
        """
        self.known |= spool.there.keys() | spool.charged | {id[:ID_CHARACTERS] for id in promised}
        found = []
        left = total(spool.left.values())
        if spool.given != len(spool.there) + left:
            found.append(f"{spool.given} were accepted, {len(spool.there)} are in the spool, and {left} have left")
        found += [f"{id} is in the spool without a state" for id, state in spool.there.items() if state is None]
        gone = self.known - spool.there.keys()
        delivered = {id for id in gone if platform.images.get(id)}
        otherwise = left - spool.left.get("delivered", 0)
        if len(gone) - len(delivered) > otherwise:
            missing = sorted(gone - delivered)[-5:]
            found.append(
                f"{len(gone) - len(delivered)} are neither in the spool nor at the platform, and {otherwise} were"
                f" counted as gone otherwise; of these: {missing}"
            )
        # What was stored though its answer was lost may have left otherwise all the same.
        if not spool.left.get("delivered", 0) <= len(delivered) <= spool.left.get("delivered", 0) + otherwise:
            found.append(f"{spool.left.get('delivered', 0)} are counted as delivered, {len(delivered)} are there")
        unannotated = [id for id in delivered if platform.annotated.get(id) != 1]
        if len(unannotated) > otherwise:
            found.append(f"{len(unannotated)} were delivered and have no annotation: {sorted(unannotated)[:5]}")
        found += [f"{id} is at the platform {n} times" for id, n in platform.images.items() if n != 1]
        found += [f"{id} is annotated {n} times" for id, n in platform.annotated.items() if n != 1]
        for exit, number in self._left.items():
            if spool.left.get(exit, 0) < number:
                found.append(f"{number} had left as {exit}, and now it says {spool.left.get(exit, 0)}")
        if spool.left.get("buried") or spool.left.get("unknown"):
            found.append(f"datapoints were lost in the file: {dict(spool.left)}")
        if strangers := self._earlier - self.known:
            found.append(f"the platform has what was never accepted: {sorted(strangers)[:5]}")
        self._earlier = set(platform.images)
        self._left = spool.left
        return found
