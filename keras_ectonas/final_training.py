"""How long the best candidate is trained at the end: what is left allows for, and what is enough.

Training for far too long makes a network worse.
"""

from __future__ import annotations

from collections.abc import Sequence

from .lineage import Candidate
from .outlook import Outlook

__all__ = ["enough_steps", "steps_left"]


def steps_left(outlook: Outlook, line: Sequence[Candidate]) -> int:
    """Steps that fit into what is left, by what those of the last two of a lineage took.

    Others may be larger or smaller.
    """
    like = line[-2:]
    return outlook.last_steps(sum(own.seconds for own in like), sum(own.steps for own in like))


def enough_steps(outlook: Outlook, line: Sequence[Candidate]) -> int:
    """Twice the steps to the smallest loss of a lineage, the last of equals; 0 if more than half of what is left."""
    looks = [record for own in line for record in own.records]
    steps = 2 * min(reversed(looks), key=lambda record: record.val_loss).step
    return steps if 2 * steps <= steps_left(outlook, line) else 0
