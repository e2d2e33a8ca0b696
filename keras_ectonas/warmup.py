"""How long the start model is trained before its first changes: until it has stopped learning fast, unless told.

A network that still learns fast gains more from its next epochs than from a change, and has the whole budget's steps
to itself while nobody competes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .lineage import Candidate, EpochRecord
from .outlook import Outlook

__all__ = ["next_part"]

_PART: Final = 0.05
"""Of the horizon."""

_LONGEST_PART: Final = 5.0
_FEWEST_PARTS: Final = 2
_MOST: Final = 0.5
"""Of what is not kept for the end."""

_FAST: Final = 0.05
"""Share of the validation loss that goes from one part to the next."""


def next_part(outlook: Outlook, start: Candidate) -> int:
    """Steps that the start model is trained for before it is looked at again; 0 if its warm-up is over.

    Without a given length, parts of a twentieth of the budget follow each other as long as each brings the validation
    loss down by a twentieth, at least two, and at most half of what is not kept for the end.
    """
    settings, ledger = outlook.settings, outlook.ledger
    if settings.warmup_epochs is not None:
        return _fitting(outlook, start, ledger.steps_for(settings.warmup_epochs)) if start.score is None else 0
    part = ledger.steps_for(min(_LONGEST_PART, _PART * outlook.horizon))
    if settings.max_time is not None and not start.steps:
        # An epoch tells the pace, and so what time has room for.
        return _fitting(outlook, start, min(part, ledger.steps_per_epoch))
    longest = ledger.steps_for(_MOST * (1 - settings.final_share) * outlook.horizon)
    if start.steps < _FEWEST_PARTS * part or (start.steps < longest and _learns_fast(start.records, part)):
        return _fitting(outlook, start, part)
    return 0


def _fitting(outlook: Outlook, start: Candidate, steps: int) -> int:
    """No more than what is not kept for the end, but one step at least if there is none yet."""
    return min(steps, max(outlook.free, 0 if start.steps else 1))


def _learns_fast(records: Sequence[EpochRecord], part: int) -> bool:
    """Whether the loss of the last part is far below that of the part before."""
    end = records[-1].step
    recent = [record.loss for record in records if record.step > end - part]
    before = [record.loss for record in records if end - 2 * part < record.step <= end - part]
    if not before:
        return True
    reference = sum(before) / len(before)
    return reference - sum(recent) / len(recent) > _FAST * abs(reference)
