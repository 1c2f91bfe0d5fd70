"""Is a webhook genuine, whole and new? See `streamgate.delivery.signature` for the header."""

from __future__ import annotations

import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from streamgate.delivery.signature import signed_at
from streamgate.errors import DataError

__all__ = ["SignatureCheck"]

_LONGEST_HEADER = 4096
_MOST_PROOFS = 8
_MOST_REMEMBERED = 100_000


class SignatureCheck:
    """Refuses what was changed, what is too old, and what has come before.

    A best shot that is delivered again has a signature of its own, so that only a copy of an
    earlier request is refused. What is remembered is bounded: where more come within the tolerance,
    those that would be forgotten become too old instead.

    Args:
        secrets: any of them may have signed.
        tolerance_s: how far the sender's clock may be from ours, and how late a request may come.
        wall: tells Unix seconds.
        remembered: most requests that are remembered.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        tolerance_s: float = 300.0,
        wall: Callable[[], float] = time.time,
        remembered: int = _MOST_REMEMBERED,
    ) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._tolerance_s = tolerance_s
        self._wall = wall
        self._most = remembered
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._forgotten_s = -math.inf

    def check(self, header: str, body: bytes) -> None:
        """Accept a request once.

        Raises:
            DataError: it is not genuine, or not new.
        """
        stamp, proofs = _parts(header)
        right = [signed_at(stamp, body, secret) for secret in self._secrets]
        if not any(hmac.compare_digest(one, proof) for one in right for proof in proofs):
            raise DataError("the signature does not match: another secret, or a changed body")
        at_s = float(stamp)
        if abs(self._wall() - at_s) > self._tolerance_s:
            raise DataError(f"the signature is {self._wall() - at_s:.0f} s old; compare the clocks")
        # The secrets' own, since an attacker may leave proofs out or add some.
        if any(proof in self._seen for proof in right) or at_s <= self._forgotten_s:
            raise DataError("the request has come before")
        self._remember(right, at_s)

    def _remember(self, proofs: Sequence[str], at_s: float) -> None:
        for proof in proofs:
            self._seen[proof] = at_s
        oldest_s = self._wall() - self._tolerance_s
        while self._seen:
            proof, then_s = next(iter(self._seen.items()))
            if len(self._seen) <= self._most and then_s >= oldest_s:
                return
            del self._seen[proof]
            if then_s >= oldest_s:
                self._forgotten_s = max(self._forgotten_s, then_s)


def _parts(header: str) -> tuple[str, list[str]]:
    pairs = [part.partition("=")[::2] for part in header[:_LONGEST_HEADER].split(",")]
    stamps = [value for name, value in pairs if name.strip() == "t"]
    proofs = [value for name, value in pairs if name.strip() == "v1"]
    try:
        sound = len(stamps) == 1 and stamps[0].isascii() and math.isfinite(float(stamps[0]))
    except ValueError:
        sound = False
    if not sound or not proofs or not "".join(proofs).isascii():
        raise DataError("the request is not signed as it must be")
    return stamps[0], proofs[:_MOST_PROOFS]
