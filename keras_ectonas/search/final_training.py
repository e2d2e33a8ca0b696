"""How long the best candidate is trained at the end: what is left allows for, and what is enough.

Training for far too long makes a network worse: it learns its rows by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..lineage import Candidate
from .outlook import Outlook

__all__ = ["learns_by_heart", "n_parts", "shorter_trainings", "steps_left"]

_FOR_A_LOOK: Final = 0.25
"""Share of what is left."""

_BY_HEART: Final = 0.1
"""Share of the loss on the rows it is trained on."""

_MOST_PARTS: Final = 4


def steps_left(outlook: Outlook, line: Sequence[Candidate]) -> int:
    """Steps that fit into what is left, by what those of the last two of a lineage took.

    Others may be larger or smaller.
    """
    like = line[-2:]
    return outlook.last_steps(sum(own.seconds for own in like), sum(own.steps for own in like))


def shorter_trainings(outlook: Outlook, line: Sequence[Candidate], for_a_look: bool) -> list[int]:
    """Steps of trainings that come before the one with all that is left.

    The longest takes twice the steps to the smallest loss of the lineage, the last of equals: more is too much. As a
    change may have set a network back to where little is enough, each other one takes a quarter of the next. All take
    an epoch at least. There are none if they would take more than half of what is left.

    Parameters
    ----------
    outlook : Outlook
    line : sequence of Candidate
        The best and its ancestors, from the start on.
    for_a_look : bool
        Whether there is to be one in any case, to see what training leads to; then with the whole epochs in a quarter
        of what is left, if they are as many as a score is the mean of. Fewer would show little.
    """
    looks, epoch = [record for own in line for record in own.records], outlook.ledger.steps_per_epoch
    steps, left = 2 * min(reversed(looks), key=lambda record: record.val_loss).step, steps_left(outlook, line)
    lengths = [length for length in (steps // 16, steps // 4, steps) if length >= epoch] or [epoch]
    if 2 * sum(lengths) <= left:
        return lengths
    look = int(_FOR_A_LOOK * left) // epoch * epoch
    return [look] if for_a_look and look >= outlook.settings.rolling_epochs * epoch else []


def learns_by_heart(own: Candidate, steps_per_epoch: int, loss_ratio: float) -> bool:
    """Whether its loss on the validation rows is a tenth larger than on those it is trained on, after a whole epoch.

    Parameters
    ----------
    own : Candidate
    steps_per_epoch : int
        The loss of a few minibatches would be a matter of luck.
    loss_ratio : float
        What the loss on the rows it is trained on would be to the other by the weights of the rows alone.
    """
    began = [own.step, *(record.step for record in own.records)]
    whole = [
        record
        for first, record in zip(began, own.records, strict=False)
        if record.step - first >= steps_per_epoch and "loss" in record.logs
    ]
    if not whole:
        return False
    trained = whole[-1].logs["loss"] / loss_ratio
    return whole[-1].val_loss - trained > _BY_HEART * abs(trained)


def n_parts(outlook: Outlook, steps: int) -> int:
    """Into how many parts the training of so many steps falls, between which it can be interrupted and looked at.

    Each has as many epochs as a score is the mean of. Under a time limit one epoch is enough: how soon the learning
    rate is to fall to zero is settled anew in each part.
    """
    settings, epochs = outlook.settings, steps // outlook.ledger.steps_per_epoch
    shortest = settings.rolling_epochs if settings.max_time is None else 1
    return max(1, min(_MOST_PARTS, epochs // shortest))
