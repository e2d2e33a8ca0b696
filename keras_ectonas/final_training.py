"""How long the best candidate is trained at the end: what is left allows for, and what is enough.

Training for far too long makes a network worse.
"""

from __future__ import annotations

from collections.abc import Sequence

from .lineage import Candidate
from .outlook import Outlook

__all__ = ["shorter_trainings", "steps_left"]


def steps_left(outlook: Outlook, line: Sequence[Candidate]) -> int:
    """Steps that fit into what is left, by what those of the last two of a lineage took.

    Others may be larger or smaller.
    """
    like = line[-2:]
    return outlook.last_steps(sum(own.seconds for own in like), sum(own.steps for own in like))


def shorter_trainings(outlook: Outlook, line: Sequence[Candidate]) -> list[int]:
    """Steps of trainings that come before the one with all that is left; none if they would take more than half of it.

    The longest takes twice the steps to the smallest loss of the lineage, the last of equals: more is too much. As a
    change may have set a network back to where little is enough, each other one takes a quarter of the next, and an
    epoch at least.
    """
    looks = [record for own in line for record in own.records]
    steps = 2 * min(reversed(looks), key=lambda record: record.val_loss).step
    lengths = [steps // 16, steps // 4, steps]
    lengths = [length for length in lengths if length >= outlook.ledger.steps_per_epoch] or [steps]
    return lengths if 0 < 2 * sum(lengths) <= steps_left(outlook, line) else []
