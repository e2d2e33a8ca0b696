"""Losses and metrics, as the user compiled them, as pure functions of targets and outputs.

Keras itself computes them: a model that hands its input on is compiled like the user's, and called without state.
"""

from __future__ import annotations

from typing import Any, Final

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from ...compilation import Compilation
from ...network import Array, Shape
from ...random_state import untouched_random_state

__all__ = ["Head"]

_BY_BATCH: Final = (keras.metrics.PearsonCorrelation, keras.metrics.ConcordanceCorrelation)
"""May correlate the rows of a batch."""


class Head:
    """The loss and the metrics of a search; one for all candidates, whose outputs have one shape.

    Parameters
    ----------
    compilation : Compilation
    output_shape : tuple of int
        Of one sample.
    y : ndarray of shape (rows, ...)
        A few targets, from which Keras resolves names such as ``"accuracy"``.
    weighted : bool
        Whether samples have weights.
    """

    def __init__(self, compilation: Compilation, output_shape: Shape, y: Array, weighted: bool) -> None:
        self.output_shape = output_shape
        with untouched_random_state():
            self._model = keras.Sequential([keras.Input(output_shape), keras.layers.Identity()])
            compilation.compile(self._model)
            outputs = jax.ShapeDtypeStruct((len(y), *(int(size or 1) for size in output_shape)), np.float32)
            weights = jax.ShapeDtypeStruct((len(y),), np.float32) if weighted else None
            # Traced only: computed, each operation would be compiled. Variables are made when the scope ends.
            with keras.StatelessScope():
                jax.eval_shape(self._resolved, y, outputs, weights)
        leaves = [leaf for metric in self._model.metrics for leaf in getattr(metric, "metrics", [metric])]
        self._sums_over_rows = all(map(_sums_over_rows, leaves))
        self._initial: list[Array] = [np.asarray(variable) for variable in self._model.metrics_variables]

    def _resolved(self, y: Any, outputs: Any, weights: Any) -> None:
        """Let Keras find out what names such as ``"accuracy"`` mean for such targets and outputs."""
        self._model.compute_loss(y=y, y_pred=outputs, sample_weight=weights)
        self._model.compute_metrics(None, y, outputs, weights)

    def loss(self, y: Any, outputs: Any, weights: Any) -> Any:
        """The mean loss of a batch, without penalties."""
        with keras.StatelessScope():
            return self._model.compute_loss(y=y, y_pred=outputs, sample_weight=weights, training=True)

    @property
    def initial(self) -> list[Array]:
        """Metrics that have seen nothing."""
        return self._initial

    def update(self, values: list[Any], y: Any, outputs: Any, weights: Any, n_batches: Any = None) -> list[Any]:
        """The metrics after some batches.

        Parameters
        ----------
        values : list of array
        y, outputs, weights : array of shape (batches, rows, ...)
            Weights may be None.
        n_batches : int scalar or None
            Only so many of them, a number that may be traced; None for all.
        """
        parts = (y, outputs, weights)
        if self._sums_over_rows and n_batches is None:
            return self._updated(values, *(None if p is None else p.reshape(-1, *p.shape[2:]) for p in parts))

        def body(i: Any, values: list[Any]) -> list[Any]:
            return self._updated(values, *(None if part is None else part[i] for part in parts))

        initial = [jnp.asarray(value) for value in values]
        return list(lax.fori_loop(0, len(y) if n_batches is None else n_batches, body, initial))

    def results(self, values: list[Any]) -> dict[str, Any]:
        """What the metrics say, by name."""
        variables = self._model.metrics_variables
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            results = self._model.get_metrics_result()
        return {name: value for name, value in results.items() if name != "loss"}

    def _updated(self, values: list[Any], y: Any, outputs: Any, weights: Any) -> list[Any]:
        variables = self._model.metrics_variables
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            self._model.compute_metrics(None, y, outputs, weights)
        return [scope.get_current_value(variable) for variable in variables]


def _sums_over_rows(metric: Any) -> bool:
    """Whether a metric does not care how its rows are cut into batches: most of Keras' own."""
    function = getattr(metric, "_fn", metric)
    is_of_keras = all(str(module).startswith("keras.") for module in (type(metric).__module__, function.__module__))
    return is_of_keras and not isinstance(metric, _BY_BATCH) and not isinstance(function, keras.losses.Loss)
