"""How the best candidate is trained at the end, in more than one way where one may be better or another.

Training for far too long makes a network worse, and dropout keeps it from learning the rows by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from .lineage import Candidate
from .network import Network
from .outlook import Outlook
from .surgery import with_dropout

__all__ = ["FinalTraining", "final_trainings", "steps_left"]

_SHARE_WITHOUT_DROPOUT: Final = 1 / 3
_BY_HEART: Final = 0.1


class FinalTraining(NamedTuple):
    """One way to train the best at the end.

    Parameters
    ----------
    network : Network
        Which computes the same as the best.
    description : str
    steps : int or None
        None: all that are left.
    """

    network: Network
    description: str
    steps: int | None = None


def final_trainings(outlook: Outlook, line: Sequence[Candidate], network: Network) -> list[FinalTraining]:
    """What is done with the rest of the budget, the long training last.

    That one is with dropout if the network has begun to learn its rows by heart and has a place for it. A third of the
    steps, or shorter trainings where they are called for, are then without.

    Parameters
    ----------
    outlook : Outlook
    line : sequence of Candidate
        The best and its ancestors, from the start on.
    network : Network
        The best's.
    """
    lengths = _shorter_trainings(outlook, line)
    long = FinalTraining(network, "trained with the rest of the budget")
    rate = outlook.settings.final_dropout
    dropped = with_dropout(network, rate) if rate and _learns_by_heart(line[-1]) else None
    if dropped is not None:
        network_with_dropout, layer = dropped
        long = FinalTraining(network_with_dropout, f"dropout of {rate:g} before {layer.name}; {long.description}")
        lengths = lengths or [int(_SHARE_WITHOUT_DROPOUT * steps_left(outlook, line))]
    shorter = [FinalTraining(network, "trained with some of the rest of the budget", steps) for steps in lengths]
    return [*(training for training in shorter if training.steps), long]


def steps_left(outlook: Outlook, line: Sequence[Candidate]) -> int:
    """Steps that fit into what is left, by what those of the last two of a lineage took.

    Others may be larger or smaller.
    """
    like = line[-2:]
    return outlook.last_steps(sum(own.seconds for own in like), sum(own.steps for own in like))


def _learns_by_heart(own: Candidate) -> bool:
    """Whether it loses a tenth more on other rows than on those it is trained on, as far as that is known."""
    loss = own.records[-1].logs.get("loss")
    return loss is None or own.records[-1].val_loss > loss + _BY_HEART * abs(loss)


def _shorter_trainings(outlook: Outlook, line: Sequence[Candidate]) -> list[int]:
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
