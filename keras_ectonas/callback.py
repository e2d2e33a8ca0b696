"""The search as a Keras callback: ``model.fit`` is the warm start, the winner takes the model's place."""

from __future__ import annotations

from typing import Any, Final

import keras

from .bridge import Blueprint, LiveModel, network_of
from .compilation import Compilation
from .errors import InputError
from .fitted import FittedSearch
from .inputs.data import checked_array, checked_targets, checked_weights
from .inputs.sources import has_no_end, is_stream, source_of
from .interrupts import carried_out
from .search import Search
from .session import Session
from .trainer import ECToNASTrainer

__all__ = ["ECToNASCallback"]


_FROM_THE_MODEL: Final = frozenset(
    {"model", "keep_weights", "multi_start", "warm_start", "warmup_epochs", "optimizer", "loss", "metrics"}
)


class ECToNASCallback(FittedSearch, keras.callbacks.Callback):  # type: ignore[misc]
    """Search when ``model.fit`` ends, from the model that it trained, and leave the winner in the model.

    The search waits until all other callbacks have ended: one may restore weights then.

    Parameters
    ----------
    x : array-like or a data set of batches
        Training rows, as ``fit`` receives them; no generator. Where a data set has no end, an epoch of the search has
        as many batches as one of ``fit``.
    y : array-like or None
        None for a data set, which holds it.
    validation_data : tuple (x, y) or (x, y, sample_weight), or a data set of batches, optional
        Rows to score on; without them a tenth of the rows is held out from the search.
    sample_weight : array-like of shape (rows,), optional
        The search does not see the weights that ``fit`` receives; ``class_weight`` is among the knobs.
    **knobs
        The parameters of `ECToNASTrainer` but for ``model``, ``keep_weights``, ``multi_start``, ``warm_start``,
        ``warmup_epochs`` and what the model is compiled with. With ``checkpoint`` and ``resume``, ``fit`` must have
        left the model as it did before.

    Attributes
    ----------
    lineage_, candidates_, history_, n_epochs_ and the others
        As those of `ECToNASTrainer`; the methods ``select`` and ``report`` too.

    Raises
    ------
    InputError
        When ``fit`` begins, before any training, if an argument cannot be used.
    """

    def __init__(
        self, x: Any, y: Any = None, validation_data: Any = None, sample_weight: Any = None, **knobs: Any
    ) -> None:
        super().__init__()
        refused = sorted(_FROM_THE_MODEL & set(knobs))
        if refused:
            raise InputError(f"{refused[0]}: the callback takes it from the model that is being fitted.")
        unknown = sorted(set(knobs) - set(ECToNASTrainer().get_params(deep=False)))
        if unknown:
            raise InputError(f"{unknown[0]}: ECToNASCallback has no such argument, nor has ECToNASTrainer.")
        self._trainer = ECToNASTrainer(keep_weights=True, warmup_epochs=0, **knobs)
        self._x, self._y, self._validation_data = x, y, validation_data
        self._sample_weight = sample_weight
        self._last: keras.callbacks.History | None = None
        self._is_waiting = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Check every argument before ``fit`` spends time."""
        if not isinstance(self.model, keras.Sequential):
            raise InputError(f"model of type {type(self.model).__name__}: expected a keras.Sequential.")
        if is_stream(self._x):
            if not source_of(self._x).rewinds:
                raise InputError("x is a generator, whose batches go to fit: expected arrays or a data set.")
        else:
            x = checked_array("x", self._x, "float32")
            checked_targets("y", self._y, len(x))
            checked_weights("sample_weight", self._sample_weight, len(x))
        if self.model.built:
            self._session()
        self._look_out_for_the_last()

    def _look_out_for_the_last(self) -> None:
        """Be told when Keras' own history ends, which it adds behind the callbacks that it is given."""
        self._last, self._is_waiting = None, False
        history = getattr(self.model, "history", None)
        # That of an earlier fit has other parameters.
        if history is None or history.params is not self.params:
            return
        self._last, end = history, history.on_train_end

        def on_train_end(logs: Any = None) -> None:
            vars(history).pop("on_train_end", None)
            end(logs)
            self._last = None
            if self._is_waiting:
                self._search()

        history.on_train_end = on_train_end

    def on_train_end(self, logs: Any = None) -> None:
        """Search as soon as the other callbacks have ended, and put the winner into the model."""
        self._is_waiting = self._last is not None
        if not self._is_waiting:
            self._search()

    def _search(self) -> None:
        session = self._session()
        start = network_of(self.model, nonnegative_input=session.start.nonnegative_input)
        session.start = start
        # In steps of the search, whose minibatches may have another size.
        optimizer = self.model.optimizer
        n_steps = int(optimizer.iterations) * (getattr(optimizer, "gradient_accumulation_steps", None) or 1)
        n_epochs = n_steps / (self.params.get("steps") or session.data.steps_per_epoch)
        session.start_step = round(n_epochs * session.data.steps_per_epoch)
        search = session.run()
        carried_out(lambda: self._finish(session, search))

    def _finish(self, session: Session, search: Search) -> None:
        self.model_ = self.model
        self._keep(session, search, self._trainer.get_params(deep=False), ECToNASTrainer)
        if search.best != 0:
            _replace_layers(self.model, session.blueprint, search.winner().network)

    def _session(self) -> Session:
        self._trainer.model = self.model
        # Where data have no end, an epoch is what it is to ``fit``.
        steps = self.params.get("steps") if is_stream(self._x) and has_no_end(self._x) else None
        return self._trainer._session(self._x, self._y, self._sample_weight, self._validation_data, steps)


def _replace_layers(model: keras.Sequential, blueprint: Blueprint, network: Any) -> None:
    """Put the layers of `network` into `model` in place of its own, and compile anew; all of it or nothing."""
    compilation, optimizer, before = Compilation.of(model), model.optimizer, list(model.layers)
    if compilation is None:
        raise InputError("model is no longer compiled")
    try:
        _empty(model)
        blueprint.fill(model, network)
        compilation.compile(model)
        model.optimizer.build(model.trainable_variables)
        LiveModel(model).assign(network)
    except BaseException:  # Ctrl-C too would leave a model that is neither: the old one is put back, and all is raised.
        _empty(model)
        for layer in before:
            model.add(layer, rebuild=layer is before[-1])
        if model.optimizer is not optimizer:
            compilation.compile(model)
            model.optimizer = optimizer
        raise


def _empty(model: keras.Sequential) -> None:
    while model.layers:
        model.pop(rebuild=False)
