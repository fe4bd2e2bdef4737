"""Sticky groups: who is treated by the bandit, who by chance, who as usual, and who is left alone."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.campaign import Groups


class Group(StrEnum):
    """The four randomised groups of a campaign, in the order of `assign`'s codes."""

    TREATMENT = "treatment"
    RANDOM_CONTROL = "random_control"
    BAU = "bau"
    HOLDOUT = "holdout"


GROUPS = tuple(Group)


def assign(customer_ids: Sequence[str], groups: Groups, salt: str) -> NDArray[np.uint8]:
    """The group of each customer, (n,) uint8 index into `GROUPS`: the same for the same customer and salt, for ever.

    A customer's place in [0, 1) is a hash of salt and id; holdout takes the lowest share, then random_control, then
    bau, and treatment the rest, so that enlarging the last of them moves nobody between the others.
    """
    key = blake2b(salt.encode(), digest_size=32).digest()
    hashes = b"".join(blake2b(customer.encode(), digest_size=8, key=key).digest() for customer in customer_ids)
    place = (np.frombuffer(hashes, ">u8").astype(np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    bau = groups.bau.share if groups.bau else 0.0
    edges = np.cumsum([groups.holdout, groups.random_control, bau])
    codes = np.array(
        [GROUPS.index(g) for g in (Group.HOLDOUT, Group.RANDOM_CONTROL, Group.BAU, Group.TREATMENT)], np.uint8
    )
    return codes[np.searchsorted(edges, place, side="right")]
