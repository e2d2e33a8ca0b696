"""How long start models are trained before the first changes: until they no longer learn fast, or as told.

A network that still learns fast gains more from its next epochs than from a change, and has the whole budget's steps
to itself while nobody competes. A short budget may have room for nothing else.
"""

from __future__ import annotations

from typing import Final

from ..lineage import Candidate
from .outlook import Outlook
from .planning import FEWEST_CHILDREN, has_room

__all__ = [
    "further_part",
    "has_room_for_another",
    "leaves_room_for_another",
    "most_steps",
    "next_part",
    "next_part_of_another",
]

_PART: Final = 0.05
"""Of the horizon."""

_LONGEST_PART: Final = 5.0
_FEWEST_PARTS: Final = 2
_MOST: Final = 0.5
"""Of what is not kept for the end, for all starts together, as long as the rest has room for children."""

_FOR_CHILDREN: Final = 0.2
"""Of the same, at least."""

_FEWEST_FOR_CHILDREN: Final = 2 * FEWEST_CHILDREN
"""Steps: one for each of them in each of two matches."""

_FAST: Final = 0.01
"""Share of the validation loss, penalties included, that goes with each epoch."""


def next_part(outlook: Outlook, start: Candidate, n_starts: int = 1) -> int:
    """Steps that the start model is trained for before it is looked at again; 0 if its warm-up is over or has no steps.

    Without a given length, parts of a twentieth of the budget, of five epochs at most, follow each other as long as
    each brings the validation loss down by a hundredth for each of its epochs, at least two, and at most half of what
    is not kept for the end, or a quarter if another start is to have as much; if there is none, then as `further_part`
    says. Under a time limit the first part is one epoch.
    """
    settings, ledger = outlook.settings, outlook.ledger
    if settings.warmup_epochs is not None:
        return 0 if start.steps else _fitting(outlook, start, most_steps(outlook, n_starts))
    part = _part(outlook)
    if settings.max_time is not None and not start.steps:
        # An epoch tells the pace, and so what time has room for.
        return _fitting(outlook, start, min(part, ledger.steps_per_epoch))
    left = most_steps(outlook, n_starts) - start.steps
    if not start.steps:
        return _fitting(outlook, start, min(part, max(left, 1)))
    if 2 * left >= part and (start.steps < _FEWEST_PARTS * part or _learns_fast(outlook, start)):
        return _fitting(outlook, start, min(part, left))
    return further_part(outlook, start) if n_starts == 1 else 0


def further_part(outlook: Outlook, start: Candidate) -> int:
    """Steps that the start that goes on is trained for next; 0 if what is not kept for the end has room for children.

    Otherwise it may have four fifths of all that is not kept, as long as it learns fast; the rest is for a few short
    matches. 0 if it does not, had less than two parts, or where size counts, which children alone can change.
    """
    settings, part = outlook.settings, _part(outlook)
    for_children = outlook.ledger.steps_for(_FOR_CHILDREN * (1 - settings.kept_share) * outlook.horizon)
    left = outlook.free - max(for_children, _FEWEST_FOR_CHILDREN)
    if settings.warmup_epochs is not None or settings.greediness < 1 or 2 * left < part or has_room(outlook):
        return 0
    is_known = start.steps >= _FEWEST_PARTS * part
    return min(part, left) if is_known and _learns_fast(outlook, start) else 0


def most_steps(outlook: Outlook, n_starts: int = 1) -> int:
    """Steps of the whole warm-up of one start, at most, as long as the rest has room for children."""
    settings, ledger = outlook.settings, outlook.ledger
    if settings.warmup_epochs is not None:
        return ledger.steps_for(settings.warmup_epochs)
    return ledger.steps_for(_MOST / n_starts * (1 - settings.kept_share) * outlook.horizon)


def leaves_room_for_another(outlook: Outlook) -> bool:
    """Whether half of the longest warm-up would tell of two starts which one is better.

    Fewer than the epochs that a score is the mean of would show little.
    """
    return most_steps(outlook, 2) >= _fewest_steps_to_compare(outlook)


def has_room_for_another(outlook: Outlook, n_steps: int) -> bool:
    """Whether another start may be trained for `n_steps`, as the first one was, and as much is left for children."""
    return _fewest_steps_to_compare(outlook) <= n_steps and 2 * n_steps <= outlook.free


def next_part_of_another(outlook: Outlook, own: Candidate, n_steps: int) -> int:
    """Steps that another start is trained for next, up to `n_steps` in all; 0 if it has had them.

    In parts like those of the first one, which callbacks see as trainings. Under a time limit they end with a quarter
    of the time that is not kept for the end.
    """
    settings, ledger = outlook.settings, outlook.ledger
    left = min(n_steps - own.steps, outlook.free)
    part = left if settings.warmup_epochs is not None else _part(outlook)
    if settings.max_time is not None:
        if not own.steps:
            return min(left, part, ledger.steps_per_epoch)
        seconds = _MOST / 2 * (1 - settings.kept_share) * settings.max_time - own.seconds
        left = max(0, min(left, int(seconds * own.steps / max(own.seconds, 1e-9))))
    return min(left, part)


def _part(outlook: Outlook) -> int:
    """Steps between two looks."""
    return outlook.ledger.steps_for(min(_LONGEST_PART, _PART * outlook.horizon))


def _fewest_steps_to_compare(outlook: Outlook) -> int:
    return outlook.settings.rolling_epochs * outlook.ledger.steps_per_epoch


def _fitting(outlook: Outlook, start: Candidate, steps: int) -> int:
    """No more than what is not kept for the end, though one step may be for a start that has had none."""
    return min(steps, max(outlook.free, 0 if start.steps else 1))


def _learns_fast(outlook: Outlook, start: Candidate) -> bool:
    """Whether the loss of the last part is far below that of the part before."""
    part, end = _part(outlook), start.records[-1].step
    recent = [record.val_loss for record in start.records if record.step > end - part]
    before = [record.val_loss for record in start.records if end - 2 * part < record.step <= end - part]
    if not before:
        return True
    reference = sum(before) / len(before)
    wanted = _FAST * part / outlook.ledger.steps_per_epoch
    return reference - sum(recent) / len(recent) > wanted * abs(reference)
