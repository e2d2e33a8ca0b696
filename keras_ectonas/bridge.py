"""Keras models to networks and back.

Models are built with zeros for initial weights, which are set right after, and given their configured
initializers back: drawing random numbers that are thrown away would take most of the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import keras
import numpy as np

from .compilation import Compilation
from .errors import InputError, SurgeryError
from .network import Array, Layer, Network, Shape, Weight
from .random_state import untouched_random_state
from .rules import Role, role_of

__all__ = [
    "Blueprint",
    "LiveModel",
    "Slot",
    "config_of",
    "kind_of",
    "layer_from",
    "memory_name",
    "network_of",
    "optimizer_places",
    "random_seeds",
    "remembered",
]


_ROWS_AT_ONCE: Final = 1000
_NAMED_HERE: Final = "named_by_keras_ectonas"
"""Among the options of a layer whose own configuration has no name."""


def kind_of(layer_class: type) -> str:
    """The name under which surgery knows a layer class.

    The class name for Keras' own, else the name it was registered with, ``package>name``, or its module in place
    of the package, so that a class of one's own is never taken for one of Keras' by its name.
    """
    if layer_class.__module__.split(".")[0] == "keras":
        return layer_class.__name__
    registered: str = keras.saving.get_registered_name(layer_class)
    return registered if ">" in registered else f"{layer_class.__module__}>{layer_class.__name__}"


@dataclass(frozen=True)
class Blueprint:
    """What a `Network` does not hold and Keras needs to build it.

    Parameters
    ----------
    name : str
        Of the model.
    input_dtype : str
    classes : mapping of str to type
        Layer classes by kind.
    compilation : Compilation
    """

    name: str
    input_dtype: str
    classes: Mapping[str, type]
    compilation: Compilation

    @classmethod
    def of(cls, model: keras.Sequential, compilation: Compilation) -> Blueprint:
        classes = {kind_of(type(layer)): type(layer) for layer in model.layers}
        dtype = str(model.inputs[0].dtype)
        return cls(model.name, dtype, classes, compilation)

    def build(self, network: Network) -> LiveModel:
        """A compiled Keras model with the weights and the optimizer state of `network`."""
        with untouched_random_state():
            model = self.uncompiled(network)
            self.compilation.compile(model)
            model.optimizer.build(model.trainable_variables)
            live = LiveModel(model)
        live.assign(network)
        return live

    def uncompiled(self, network: Network) -> keras.Sequential:
        """The architecture and weights of `network` as a Keras model without optimizer."""
        model = keras.Sequential([keras.Input(network.input_shape, dtype=self.input_dtype)], name=self.name)
        self.fill(model, network)
        return model

    def fill(self, model: keras.Sequential, network: Network) -> None:
        """Put layers with the weights of `network` behind the input of an empty model, each connected once."""
        with untouched_random_state():
            layers = [self.layer(layer) for layer in network.layers]
            for layer in layers:
                model.add(layer, rebuild=layer is layers[-1])
            for own, built in zip(network.layers, model.layers, strict=True):
                _restore_initializers(own, built)
                _assign_layer(own, built)

    def layer_output(self, layer: Layer, inputs: Array) -> Array:
        """What a single layer computes in inference: for layers that surgery has no formula of.

        Raises
        ------
        SurgeryError
            If the layer does not work on its own.
        """
        try:
            with untouched_random_state():
                built = self.layer(layer)
                built.build((None, *inputs.shape[1:]))
                _assign_layer(layer, built)
                parts = [inputs[start : start + _ROWS_AT_ONCE] for start in range(0, len(inputs), _ROWS_AT_ONCE)]
                outputs = [_array(built(part, training=False)) for part in parts]
        except Exception as error:  # Whatever a layer of the user's own may raise.
            raise SurgeryError(f"layer {layer.name!r} ({layer.kind}) cannot be looked into: {error}") from error
        return np.concatenate(outputs)

    def layer(self, layer: Layer) -> keras.layers.Layer:
        cls: Any = self.classes.get(layer.kind) or keras.saving.get_registered_object(layer.kind)
        cls = cls or getattr(keras.layers, layer.kind, None)
        if cls is None:
            raise InputError(f"layer {layer.name!r}: no class is known for {layer.kind!r}.")
        config = dict(layer.config)
        for key in _initializers(layer):
            config[key] = "zeros"
        return layer_from(cls, config, layer.name)


def layer_from(cls: Any, config: Mapping[str, Any], name: str) -> keras.layers.Layer:
    """A layer of class `cls`, called `name`, which the configuration of a layer of one's own need not hold.

    Raises
    ------
    InputError
        If the configuration does not make a layer.
    """
    # A function that is already part of a model in this process is no risk.
    options = {"safe_mode": False} if cls is keras.layers.Lambda else {}
    config = {key: value for key, value in config.items() if key != "name" or config.get(_NAMED_HERE) is None}
    config.pop(_NAMED_HERE, None)
    try:
        built: keras.layers.Layer = cls.from_config(config, **options)
    except Exception as error:  # Whatever a layer of the user's own may raise.
        raise InputError(
            f"layer {name!r} ({cls.__name__}) cannot be made again from its configuration: functions and classes of "
            f"your own need keras.saving.register_keras_serializable. {str(error).splitlines()[-1]}"
        ) from error
    if built.name != name:
        built.name = name
    return built


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The configuration of `layer`, with its name in any case."""
    config: dict[str, Any] = layer.get_config()
    return config if "name" in config else {**config, "name": layer.name, _NAMED_HERE: True}


def network_of(model: keras.Sequential, nonnegative_input: bool = False) -> Network:
    """A built Keras model as a value; the arrays are copies."""
    layers = [
        Layer(
            kind_of(type(layer)),
            config_of(layer),
            tuple(Weight(_short_name(variable), _array(variable)) for variable in layer.weights),
            _output_shape(layer),
        )
        for layer in model.layers
    ]
    network = Network(tuple(model.input_shape[1:]), tuple(layers), nonnegative_input=nonnegative_input)
    if model.compiled and model.optimizer.built:
        return LiveModel(model).collect(network)
    return network


@dataclass
class LiveModel:
    """A compiled Keras model that can take on the weights of any network of its architecture.

    Its compiled programs stay with it, so that candidates of one architecture share them.
    """

    model: keras.Sequential
    _initial: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._initial = [_array(variable) for variable in self.model.optimizer.variables]

    def assign(self, network: Network) -> None:
        """Take on weights and optimizer state. What the optimizer has no memory of starts anew."""
        for own, built in zip(network.layers, self.model.layers, strict=True):
            _assign_layer(own, built)
        places = self._places()
        for variable, initial, place in zip(self.model.optimizer.variables, self._initial, places, strict=True):
            if isinstance(place, Slot):
                weight = network.layers[place.layer].weights[place.weight]
                variable.assign(weight.slots.get(place.name, initial))
            else:
                variable.assign(remembered(network, place, initial))

    def collect(self, network: Network) -> Network:
        """`network` with the model's present weights and optimizer state."""
        slots: dict[tuple[int, int], dict[str, Array]] = {}
        state: dict[str, Array] = {}
        for variable, place in zip(self.model.optimizer.variables, self._places(), strict=True):
            if isinstance(place, Slot):
                slots.setdefault((place.layer, place.weight), {})[place.name] = _array(variable)
            else:
                state[memory_name(network, place, tuple(variable.shape))] = _array(variable)
        layers = []
        for index, (own, built) in enumerate(zip(network.layers, self.model.layers, strict=True)):
            weights = tuple(
                Weight(weight.name, _array(variable), slots.get((index, position), {}))
                for position, (weight, variable) in enumerate(zip(own.weights, built.weights, strict=True))
            )
            layers.append(replace(own, weights=weights))
        return replace(network, layers=tuple(layers), optimizer_state=state)

    @property
    def has_averages(self) -> bool:
        """Whether the optimizer averages the weights, and puts the averages in their place at the end of ``fit``."""
        return bool(self.model.optimizer.use_ema)

    def separate_averages(self) -> None:
        """Undo that, after ``fit``, weights and averages share their memory, which JAX trains no further."""
        if self.has_averages:
            for average in self.model.optimizer._model_variables_moving_average:
                if average is not None:
                    average.assign(keras.ops.copy(average))

    def reseed(self, seed: int) -> None:
        """Start the random generators of dropout and noise layers from `seed`.

        With PyTorch that is its global one too, from which Keras draws some layers' masks.
        """
        known = {
            id(generator.state)
            for layer in self.model._flatten_layers(include_self=False)
            for generator in getattr(layer, "_seed_generators", [])
        }
        variables = [variable for layer in self.model.layers for variable in layer.non_trainable_variables]
        generators = [variable for variable in variables if id(variable) in known]
        for generator, state in zip(generators, random_seeds(len(generators), seed), strict=True):
            generator.assign(state.astype(str(generator.dtype)))
        if keras.backend.backend() == "torch":
            import torch

            torch.manual_seed(seed)

    def _places(self) -> list[Slot | str]:
        prefixes = {
            variable.path.replace("/", "_") + "_": (index, position, tuple(variable.shape))
            for index, layer in enumerate(self.model.layers)
            for position, variable in enumerate(layer.weights)
            if variable.trainable
        }
        return optimizer_places(self.model.optimizer, prefixes)


def optimizer_places(optimizer: Any, prefixes: Mapping[str, tuple[int, int, Shape]]) -> list[Slot | str]:
    """For each optimizer variable the slot of a weight that it is, or a name of its own.

    Keras names a slot after the weight's path, with the slot's name behind it. The others are numbered, because
    some optimizers do not name theirs.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Built.
    prefixes : mapping of str to (int, int, tuple of int)
        For each trained weight what the names of its slots begin with: index of its layer, its position there, its
        shape.
    """
    places: list[Slot | str] = []
    for variable in optimizer.variables:
        prefix = max((p for p in prefixes if variable.name.startswith(p)), key=len, default="")
        index, position, shape = prefixes.get(prefix, (0, 0, None))
        if tuple(variable.shape) == shape:
            places.append(Slot(index, position, variable.name[len(prefix) :]))
        else:
            places.append(f"other_{sum(isinstance(place, str) for place in places)}")
    return places


def memory_name(network: Network, place: str, shape: Shape) -> str:
    """The key in `Network.optimizer_state` of an optimizer variable that is no slot.

    One with axes, as of factored second moments, says nothing to a network of another architecture.
    """
    return f"{place} of {hashlib.sha256(network.architecture().encode()).hexdigest()}" if shape else place


def remembered(network: Network, place: str, initial: Array) -> Array:
    """The value of such a variable for `network`; `initial` if it has none of the same shape."""
    found = network.optimizer_state.get(memory_name(network, place, initial.shape), initial)
    return found if found.shape == initial.shape else initial


def random_seeds(n_generators: int, seed: int) -> list[Array]:
    """Where the random generators of a model's layers start, in the order of the layers, shape (2,) each."""
    spawned = np.random.SeedSequence([seed, 1]).spawn(n_generators)
    return [np.asarray([int(s.generate_state(1)[0]) % (2**31), 0], dtype="uint32") for s in spawned]


class Slot(NamedTuple):
    """Where an optimizer variable belongs: layer, position of the weight in it, name of the slot."""

    layer: int
    weight: int
    name: str


def _assign_layer(own: Layer, built: keras.layers.Layer) -> None:
    for weight, variable in zip(own.weights, built.weights, strict=True):
        variable.assign(weight.value)
    if own.weights and hasattr(built, "finalize_state"):
        built.finalize_state()


def _initializers(layer: Layer) -> list[str]:
    """The options that may be zeros while the layer is built: those of layers that are understood."""
    if role_of(layer) is Role.WALL:
        return []
    return [key for key in layer.config if key.endswith("_initializer")]


def _restore_initializers(own: Layer, built: keras.layers.Layer) -> None:
    for key in _initializers(own):
        setattr(built, key, keras.initializers.get(own.config[key]))


def _array(variable: Any) -> Array:
    # On the CPU a backend may hand out a view of memory that the next training step overwrites.
    return np.array(keras.ops.convert_to_numpy(variable))


def _short_name(variable: Any) -> str:
    return str(variable.name)


def _output_shape(layer: keras.layers.Layer) -> Shape | None:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return None
    return tuple(shape[1:])
