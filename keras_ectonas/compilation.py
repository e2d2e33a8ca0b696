"""What ``compile`` was told, kept so that every candidate can be compiled in the same way."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from .errors import InputError

__all__ = ["Compilation", "check_loadable", "fits_the_labels", "serialized_optimizer"]


@dataclass(frozen=True)
class Compilation:
    """The arguments of ``keras.Model.compile``, each good for any number of models.

    Parameters
    ----------
    optimizer : mapping
        As ``keras.optimizers.serialize`` gives it.
    loss : str, callable or ``keras.losses.Loss``
    metrics, weighted_metrics : tuple
        Names, functions or ``keras.metrics.Metric``, which are copied for each model.
    options : mapping
        The other arguments.
    undecayed : str
        Pattern of the names of weights that the optimizer's weight decay leaves out, which its configuration lacks.
    """

    optimizer: Mapping[str, Any]
    loss: Any
    metrics: tuple[Any, ...] = ()
    weighted_metrics: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    undecayed: str = ""

    @classmethod
    def of(cls, model: keras.Model) -> Compilation | None:
        """What `model` was compiled with; None if it was not compiled."""
        if not model.compiled:
            return None
        config = dict(model._compile_config.config)
        config.pop("optimizer", None)
        if not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            # Keras does not keep this; it matters where it would scale the loss by itself.
            config["auto_scale_loss"] = False
        return cls(
            serialized_optimizer(model.optimizer),
            config.pop("loss", None),
            _as_tuple("metrics", config.pop("metrics", None)),
            _as_tuple("weighted_metrics", config.pop("weighted_metrics", None)),
            {key: value for key, value in config.items() if value is not None},
            _undecayed(model.optimizer),
        )

    def compile(self, model: keras.Model) -> None:
        """Compile `model`, with an optimizer and metrics of its own."""
        model.compile(
            optimizer=self.new_optimizer(),
            loss=self.loss,
            metrics=[_copy_of(metric) for metric in self.metrics],
            weighted_metrics=[_copy_of(metric) for metric in self.weighted_metrics] or None,
            **self.options,
        )

    def new_optimizer(self) -> keras.optimizers.Optimizer:
        """An optimizer of the configuration, which Keras takes apart while it reads it."""
        optimizer = keras.saving.deserialize_keras_object(copy.deepcopy(dict(self.optimizer)))
        if self.undecayed:
            optimizer.exclude_from_weight_decay(var_names=[self.undecayed])
        return optimizer

    @property
    def averages_weights(self) -> bool:
        """Whether the optimizer puts averages of the weights in their place when a training ends."""
        return bool(self.new_optimizer().use_ema)

    @property
    def loss_name(self) -> str:
        """The loss in snake case, of an object its class or the one of Keras' that it derives from.

        Raises
        ------
        InputError
            If it is a name that Keras does not know, or no single loss.
        """
        if self.loss is None or isinstance(self.loss, (list, tuple, dict)):
            raise InputError(f"loss={self.loss!r}: expected a single loss.")
        try:
            found = keras.losses.get(self.loss)
        except ValueError as error:
            raise InputError(f"loss={self.loss!r}: expected a Keras loss, its name, or a function.") from error
        if isinstance(found, keras.losses.Loss):
            # What the user calls it says nothing.
            for made in type(found).__mro__:
                if getattr(keras.losses, made.__name__, None) is made and made is not keras.losses.Loss:
                    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", made.__name__).lower()
        name = getattr(found, "__name__", None) or getattr(found, "name", None)
        return str(name or "")

    def in_words(self) -> dict[str, str]:
        """The same text for what is compiled alike, in this process or another."""
        metrics = [_in_words(metric) for metric in (*self.metrics, *self.weighted_metrics)]
        # Keras numbers the names of a process's optimizers.
        settings = {key: value for key, value in self.optimizer.get("config", {}).items() if key != "name"}
        return {
            "optimizer": f"{self.optimizer.get('class_name')} {settings} {self.undecayed}".rstrip(),
            "loss": _in_words(self.loss),
            "loss_weights": repr(self.options.get("loss_weights")),
            "metrics": ", ".join(metrics),
        }

    def changed(self, optimizer: Any = None, loss: Any = None, metrics: Any = None) -> Compilation:
        """With what is given in place of what was compiled."""
        changes: dict[str, Any] = {}
        if optimizer is not None:
            changes["optimizer"] = serialized_optimizer(optimizer)
            changes["undecayed"] = _undecayed(optimizer)
        if loss is not None:
            changes["loss"] = loss
        if metrics is not None:
            changes["metrics"] = _as_tuple("metrics", metrics)
        return replace(self, **changes)


def fits_the_labels(loss: Any) -> bool:
    """Whether a loss is Keras' short name for the cross entropy that fits the labels."""
    return isinstance(loss, str) and loss.lower() in ("crossentropy", "ce")


def check_loadable(model: keras.Model) -> None:
    """Make sure that `model` can be loaded once it is saved.

    Raises
    ------
    InputError
        Naming the part that Keras could not find again.
    """
    compiled = Compilation.of(model)
    parts = [(f"layer {layer.name!r}", layer) for layer in model.layers]
    if compiled is not None:
        metrics = [("metric", metric) for metric in (*compiled.metrics, *compiled.weighted_metrics)]
        parts += [("loss", compiled.loss), ("optimizer", model.optimizer), *metrics]
    for role, part in parts:
        try:
            keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part), safe_mode=False)
        except Exception as error:  # Whatever a part of the user's own may raise.
            name = getattr(part, "__name__", type(part).__name__)
            raise InputError(
                f"{role} ({name}) could not be found again when this is loaded: decorate it with "
                f"keras.saving.register_keras_serializable. {str(error).splitlines()[-1]}"
            ) from error


def serialized_optimizer(optimizer: Any) -> dict[str, Any]:
    """A name, a configuration or an optimizer as the configuration of a fresh one."""
    try:
        found = keras.optimizers.get(copy.deepcopy(dict(optimizer)) if isinstance(optimizer, Mapping) else optimizer)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"optimizer={optimizer!r}: expected a Keras optimizer, its name or its configuration. {error}"
        ) from error
    if type(found).__name__ == "MultiOptimizer":
        raise InputError(
            "optimizer: a MultiOptimizer goes by the paths of one model's weights, and each candidate has its own. "
            "Expected a single Keras optimizer."
        )
    serialized: dict[str, Any] = keras.optimizers.serialize(found)
    return serialized


def _undecayed(optimizer: Any) -> str:
    """What the weight decay of `optimizer` leaves out, by name."""
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        raise InputError(
            "optimizer: exclude_from_weight_decay names variables of one model, and each candidate has its own: "
            "expected var_names."
        )
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return str(pattern.pattern) if pattern is not None else ""


def _as_tuple(argument: str, metrics: Any) -> tuple[Any, ...]:
    if metrics is None:
        return ()
    if isinstance(metrics, Mapping):
        metrics = list(metrics.values())
    if not isinstance(metrics, (list, tuple)):
        raise InputError(f"{argument}={metrics!r}: expected a list.")
    flat: list[Any] = []
    for metric in metrics:
        flat.extend(metric if isinstance(metric, (list, tuple)) else [metric])
    return tuple(_metric(f"{argument}[{number}]", metric) for number, metric in enumerate(flat))


def _metric(argument: str, metric: Any) -> Any:
    """`metric`, checked. In place of a name that Keras numbers for each model it stands for, one of a fixed name."""
    if callable(metric) or metric in ("accuracy", "acc"):
        return metric
    try:
        found, again = keras.metrics.get(metric), keras.metrics.get(metric)
    except (ValueError, TypeError) as error:
        raise InputError(f"{argument}={metric!r}: expected a Keras metric, its name, or a function.") from error
    if getattr(found, "name", None) == getattr(again, "name", None):
        return metric
    return type(found).from_config({**found.get_config(), "name": re.sub(r"_\d+$", "", again.name)})


def _copy_of(metric: Any) -> Any:
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric


def _in_words(part: Any) -> str:
    """A loss or a metric by its class and configuration, without the name, which may be numbered; functions by name."""
    if isinstance(part, (keras.losses.Loss, keras.metrics.Metric)):
        settings = {key: value for key, value in part.get_config().items() if key != "name"}
        return f"{type(part).__name__} {settings}"
    return part if isinstance(part, str) else str(getattr(part, "__qualname__", type(part).__name__))
