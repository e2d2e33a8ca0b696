"""The knobs of a search as one value, checked once."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from .errors import InputError

__all__ = ["CALIBRATED_RECOVERY_EPOCHS", "MUTATION_NAMES", "PAPER", "RECOVERY_EPOCHS", "SearchSettings"]

MUTATION_NAMES: Final = (
    "identity",
    "add_dense",
    "remove_dense",
    "add_units",
    "remove_units",
    "add_cell",
    "remove_cell",
    "add_channels",
    "remove_channels",
)

POOLINGS: Final = ("average", "max", "none")

RECOVERY_EPOCHS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "identity": 0.1,
        "add_dense": 0.1,
        "remove_dense": 1.0,
        "add_units": 0.1,
        "remove_units": 1.0,
        "add_cell": 0.25,
        "remove_cell": 1.0,
        "add_channels": 0.1,
        "remove_channels": 1.0,
    }
)
"""Training after a mutation and before the first match, in epochs, as in the paper's reference code."""

CALIBRATED_RECOVERY_EPOCHS: Final[Mapping[str, float]] = MappingProxyType(
    {name: min(epochs, 0.25) for name, epochs in RECOVERY_EPOCHS.items()}
)
"""The same for calibrated surgery, which leaves little to recover from."""

PAPER: Final[dict[str, Any]] = {
    "budget": 1000,
    "greediness": 1.0,
    "n_parents": 2,
    "surgery": "paper",
    "selection": "fitness",
    "final_selection": "parents",
    "final_share": 0.0,
    "final_dropout": 0.0,
    "match_rate": 1.0,
    "tolerance": 0.0,
    "max_drop": None,
    "multi_start": False,
    "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
    "batch_size": 32,
    "validation_fraction": 0.1,
    "max_params": 7_999_999,
    "max_growth": 3.0,
    "max_children": None,
    "warmup_epochs": 10,
    "epochs_per_match": 5,
    "max_rounds": 3,
    "rolling_epochs": 3,
    "recovery_epochs": dict(RECOVERY_EPOCHS),
    "unit_step": 0.1,
    "min_unit_step": 2,
    "channel_step": 3,
    "joint_step": 0.0,
    "cell_pooling": ("average", "max"),
}
"""Keyword arguments that make a trainer run the algorithm as published."""


@dataclass(frozen=True)
class SearchSettings:
    """What a search may do and how; times are in epochs.

    Parameters
    ----------
    budget : float
        Epochs that all candidates together may train.
    greediness : float
        Alpha of equation (2): 1 looks at the score alone, 0 at the size alone.
    n_parents : int
        Winners of phase 2, which the next generation descends from.
    max_params : int or None
        Children with more parameters are refused.
    max_growth : float or None
        Children with more than this many times their parent's parameters are refused.
    max_time : float or None
        Seconds.
    selection : {"fitness", "random"}
        How matches are decided; ``"random"`` is the paper's ablation.
    final_selection : {"archive", "parents"}
        The final model is the best of all that was ever scored, or of the last parents.
    final_share : float
        Share of the budget that is kept for training the best candidate at the end, with a learning rate that falls
        to zero. Where it is far more than the best needed to reach its smallest loss, shorter trainings come before the
        long one, and the best counts. Nothing is kept with ``final_selection="parents"``.
    final_dropout : float
        Rate of dropout before the first dense layer that reads 32 features or more which layers with kernels have made,
        in the long one of these trainings. A shorter one, with a quarter of the rest if none is called for and that is
        as many epochs as a score is the mean of, shows whether the loss on the rows to train on falls far below that
        on the validation rows; only then is it added. Never where the network drops features on the way there already.
        0: never.
    match_rate : float
        Share of the learning rate that is left at the end of a match: a score is less a matter of luck after small
        steps.
    tolerance : float
        Scores that differ by no more than this over the square root of the number of validation rows may differ by
        luck. Where an accuracy alone counts, and no layer adds a penalty to the loss, the loss on these rows then
        decides. In greedy mode half of that is taken off the score of a child smaller than its parent. The final
        training may end that much below the score of the network that it began with, if the loss does not decide
        otherwise. An accuracy's standard error is at most 0.5.
    max_drop : float or None
        A candidate that scores worse by more than this than the best one that the search has seen is never preferred
        for its size: a share for an accuracy, in relation to the best for a loss or an error. None: equation (2) alone.
    warmup_epochs, epochs_per_match : float or None
        None fits them to the budget and the time, and the warm-up to how fast the start model learns.
    max_rounds : int
        Rounds of one competition at most: the score of the last one decides among who is left.
    rolling_epochs : int
        A score is the mean over this many last epochs.
    recovery_epochs : mapping of str to float
        Training before the first match, by mutation.
    max_children : int or "auto" or None
        Children of one generation at most, ``"auto"`` fits them to the budget, None sets no limit.
    unit_step : float
        Share of a dense layer's units that a mutation adds or removes.
    min_unit_step : int
        But at least so many.
    channel_step : int
        Channels that a mutation adds or removes.
    joint_step : float
        Share of their widths by which all hidden dense layers, or all convolutions, become wider at once; the share
        that undoes it when they become narrower. 0: only ever one layer.
    cell_pooling : tuple of {"average", "max", "none"}
        The pooling that new cells may have.
    spatial_axes : int or None
        1 for series, 2 for images, 3 for volumes; None reads it off the model.
    calibration_rows : int
        Training rows, at most, that calibrated surgery looks at.

    Raises
    ------
    InputError
        Naming the argument, what came and what is expected.
    """

    budget: float = 100
    greediness: float = 1.0
    n_parents: int = 2
    max_params: int | None = None
    max_growth: float | None = 3.0
    max_time: float | None = None
    selection: str = "fitness"
    final_selection: str = "archive"
    final_share: float = 0.4
    final_dropout: float = 0.25
    match_rate: float = 0.1
    tolerance: float = 0.5
    max_drop: float | None = 0.01
    warmup_epochs: float | None = None
    epochs_per_match: float | None = None
    max_rounds: int = 3
    rolling_epochs: int = 3
    recovery_epochs: Mapping[str, float] = field(default_factory=lambda: dict(RECOVERY_EPOCHS))
    max_children: int | str | None = "auto"
    unit_step: float = 0.1
    min_unit_step: int = 2
    channel_step: int = 3
    joint_step: float = 0.5
    cell_pooling: tuple[str, ...] = POOLINGS
    spatial_axes: int | None = None
    calibration_rows: int = 2000

    def __post_init__(self) -> None:
        _number("budget", self.budget, above=0)
        _number("greediness", self.greediness, at_least=0, at_most=1)
        _whole("n_parents", self.n_parents, 1)
        if self.max_params is not None:
            _whole("max_params", self.max_params, 1)
        if self.max_growth is not None:
            _number("max_growth", self.max_growth, above=0)
        if self.max_time is not None:
            _number("max_time", self.max_time, above=0)
        choice("selection", self.selection, ("fitness", "random"))
        choice("final_selection", self.final_selection, ("archive", "parents"))
        _number("final_share", self.final_share, at_least=0, at_most=1)
        _number("final_dropout", self.final_dropout, at_least=0, below=1)
        _number("match_rate", self.match_rate, at_least=0, at_most=1)
        _number("tolerance", self.tolerance, at_least=0)
        if self.max_drop is not None:
            _number("max_drop", self.max_drop, at_least=0)
        if self.warmup_epochs is not None:
            _number("warmup_epochs", self.warmup_epochs, at_least=0)
        if self.epochs_per_match is not None:
            _number("epochs_per_match", self.epochs_per_match, above=0)
        _whole("max_rounds", self.max_rounds, 1)
        _whole("rolling_epochs", self.rolling_epochs, 1)
        if self.max_children is not None and not (isinstance(self.max_children, str) and self.max_children == "auto"):
            _whole("max_children", self.max_children, 1, also="'auto' or None")
        _number("unit_step", self.unit_step, above=0, at_most=1)
        _whole("min_unit_step", self.min_unit_step, 1)
        _whole("channel_step", self.channel_step, 1)
        _number("joint_step", self.joint_step, at_least=0)
        _whole("calibration_rows", self.calibration_rows, 1)
        self._check_cell_pooling()
        self._check_recovery_epochs()
        if self.spatial_axes is not None and not (_is_whole(self.spatial_axes) and 1 <= self.spatial_axes <= 3):
            raise InputError(f"spatial_axes={self.spatial_axes!r}: expected 1, 2, 3 or None.")

    @property
    def kept_share(self) -> float:
        """Share of budget and time that is kept for the end: none where the last parents are the result."""
        return self.final_share if self.final_selection == "archive" else 0.0

    def is_too_large(self, n_params: int) -> bool:
        """Whether so many parameters exceed ``max_params``."""
        return self.max_params is not None and n_params > self.max_params

    def _check_cell_pooling(self) -> None:
        if isinstance(self.cell_pooling, str):
            object.__setattr__(self, "cell_pooling", (self.cell_pooling,))
        if not isinstance(self.cell_pooling, (tuple, list, set, frozenset)) or not self.cell_pooling:
            raise InputError(f"cell_pooling={self.cell_pooling!r}: expected some of 'average', 'max', 'none'.")
        for how in self.cell_pooling:
            choice("cell_pooling", how, POOLINGS)
        # A set has another order in each process.
        object.__setattr__(self, "cell_pooling", tuple(how for how in POOLINGS if how in self.cell_pooling))

    def _check_recovery_epochs(self) -> None:
        if not isinstance(self.recovery_epochs, Mapping):
            raise InputError(
                f"recovery_epochs={self.recovery_epochs!r}: expected a mapping from mutation names to epochs."
            )
        for name, epochs in self.recovery_epochs.items():
            choice("recovery_epochs, a key", name, MUTATION_NAMES)
            _number(f"recovery_epochs[{name!r}]", epochs, at_least=0)


def choice(argument: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that is not among those allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{argument}={value!r}: expected one of {', '.join(map(repr, allowed))}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _number(
    argument: str,
    value: Any,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    expected = "a number"
    fits = _is_number(value) and math.isfinite(value)
    if above is not None:
        expected += f" above {above}"
        fits = fits and value > above
    if at_least is not None:
        expected += f" of at least {at_least}"
        fits = fits and value >= at_least
    if at_most is not None:
        expected += f" and at most {at_most}"
        fits = fits and value <= at_most
    if below is not None:
        expected += f" and below {below}"
        fits = fits and value < below
    if not fits:
        raise InputError(f"{argument}={value!r}: expected {expected}.")


def _whole(argument: str, value: Any, at_least: int, also: str = "") -> None:
    if not _is_whole(value) or value < at_least:
        alternative = f", {also}" if also else ""
        raise InputError(f"{argument}={value!r}: expected a whole number of at least {at_least}{alternative}.")
