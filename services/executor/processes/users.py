"""Users that steps run as, where the executor may change users: one for each run, as long as there are enough.

Runs of different users can neither read each other's files, environment and memory nor the executor's, nor end each
other's processes. Nobody needs to exist under these numbers.
"""

from collections.abc import Sequence


class StepUsers:
    """Lends user ids (each is also the group's); None when there are none, and steps run as the executor."""

    def __init__(self, uids: Sequence[int] = ()) -> None:
        self._lent = dict.fromkeys(uids, 0)

    def lend(self) -> int | None:
        """The one that the fewest runs have now."""
        if not self._lent:
            return None
        uid = min(self._lent, key=lambda uid: self._lent[uid])
        self._lent[uid] += 1
        return uid

    def give_back(self, uid: int | None) -> None:
        if uid is not None:
            self._lent[uid] -= 1
