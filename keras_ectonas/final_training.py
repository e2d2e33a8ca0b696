"""How long the best candidate is trained at the end: what is left allows for, and what is enough.

Training for far too long makes a network worse: it learns its rows by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .lineage import Candidate
from .outlook import Outlook

__all__ = ["learns_by_heart", "shorter_trainings", "steps_left"]

_FOR_A_LOOK: Final = 0.25
"""Share of what is left."""

_BY_HEART: Final = 0.1
"""Share of the loss on the rows it is trained on."""


def steps_left(outlook: Outlook, line: Sequence[Candidate]) -> int:
    """Steps that fit into what is left, by what those of the last two of a lineage took.

    Others may be larger or smaller.
    """
    like = line[-2:]
    return outlook.last_steps(sum(own.seconds for own in like), sum(own.steps for own in like))


def shorter_trainings(outlook: Outlook, line: Sequence[Candidate], for_a_look: bool) -> list[int]:
    """Steps of trainings that come before the one with all that is left.

    The longest takes twice the steps to the smallest loss of the lineage, the last of equals: more is too much. As a
    change may have set a network back to where little is enough, each other one takes a quarter of the next, and an
    epoch at least. There are none if they would take more than half of what is left.

    Parameters
    ----------
    outlook : Outlook
    line : sequence of Candidate
        The best and its ancestors, from the start on.
    for_a_look : bool
        Whether there is to be one in any case, to see what training leads to; then with a quarter of what is left.
    """
    looks = [record for own in line for record in own.records]
    steps, left = 2 * min(reversed(looks), key=lambda record: record.val_loss).step, steps_left(outlook, line)
    lengths = [steps // 16, steps // 4, steps]
    lengths = [length for length in lengths if length >= outlook.ledger.steps_per_epoch] or [steps]
    if 0 < 2 * sum(lengths) <= left:
        return lengths
    look = int(_FOR_A_LOOK * left)
    return [look] if for_a_look and look else []


def learns_by_heart(own: Candidate) -> bool:
    """Whether it ended with a loss on the validation rows that is a tenth larger than on those it is trained on."""
    if not own.records or "loss" not in own.records[-1].logs:
        return False
    last = own.records[-1]
    return last.val_loss - last.logs["loss"] > _BY_HEART * abs(last.logs["loss"])
