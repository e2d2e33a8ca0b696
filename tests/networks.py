"""Networks for tests, built by hand: random weights, biases that are not zero, statistics that are not the default.

`dense(5)`, `conv(3)` and their like give makers, functions of (generator, input shape, name) that make a layer;
`chain` strings them together. The functions below `chain` are Hypothesis strategies.
"""

import hypothesis.strategies as st
import numpy as np
from oracle import output_shape

from keras_ectonas.network import Layer, Network, Weight

RELU = ("relu",)
SMOOTH = ("tanh", "leaky_relu", "elu", "sigmoid", "softplus", "silu", "linear")
ANY_ACTIVATION = ("relu", *SMOOTH, "softsign")


def weight(name, value, rng):
    """A weight in single precision with an optimizer's two slots."""
    value = np.asarray(value, dtype=np.float32)
    slots = {slot: rng.normal(size=value.shape).astype(np.float32) for slot in ("momentum", "velocity")}
    return Weight(name, value, slots)


def _kernel_and_bias(rng, shape, use_bias):
    fan_in = np.prod(shape[:-1])
    weights = [weight("kernel", rng.normal(size=shape) * np.sqrt(1.5 / fan_in), rng)]
    if use_bias:
        weights.append(weight("bias", rng.uniform(0.1, 0.6, shape[-1]) * rng.choice([-1, 1], shape[-1]), rng))
    return tuple(weights)


def dense(units, activation="relu", use_bias=True):
    def make(rng, input_shape, name):
        config = {"name": name, "units": units, "activation": activation, "use_bias": use_bias}
        return Layer("Dense", config, _kernel_and_bias(rng, (input_shape[-1], units), use_bias))

    return make


def conv(filters, size=3, strides=1, padding="same", activation="linear", use_bias=True):
    """A convolution over as many spatial axes as its input has."""

    def make(rng, input_shape, name):
        axes = len(input_shape) - 1
        config = {
            "name": name,
            "filters": filters,
            "kernel_size": [size] * axes,
            "strides": [strides] * axes,
            "padding": padding,
            "activation": activation,
            "use_bias": use_bias,
        }
        shape = (*config["kernel_size"], input_shape[-1], filters)
        return Layer(f"Conv{axes}D", config, _kernel_and_bias(rng, shape, use_bias))

    return make


def batch_norm(scale=True, center=True):
    def make(rng, input_shape, name):
        n_features = input_shape[-1]
        values = {
            "gamma": rng.uniform(0.3, 1.5, n_features) * rng.choice([-1, 1], n_features),
            "beta": rng.normal(size=n_features),
            "moving_mean": rng.normal(size=n_features),
            "moving_variance": rng.uniform(0.5, 2.0, n_features),
        }
        if not scale:
            del values["gamma"]
        if not center:
            del values["beta"]
        config = {"name": name, "axis": -1, "epsilon": 1e-3, "scale": scale, "center": center}
        weights = tuple(weight(key, value, rng) for key, value in values.items())
        return Layer("BatchNormalization", config, weights)

    return make


def prelu():
    def make(rng, input_shape, name):
        slopes = rng.uniform(0.1, 0.5, (*[1] * (len(input_shape) - 1), input_shape[-1]))
        config = {"name": name, "shared_axes": list(range(1, len(input_shape)))}
        return Layer("PReLU", config, (weight("alpha", slopes, rng),))

    return make


def pooling(how="average", size=2, strides=None, padding="same"):
    def make(rng, input_shape, name):
        axes = len(input_shape) - 1
        config = {"name": name, "pool_size": [size] * axes, "strides": [strides or size] * axes, "padding": padding}
        return Layer(f"{how.capitalize()}Pooling{axes}D", config)

    return make


def global_pooling(how="average"):
    def make(rng, input_shape, name):
        return Layer(f"Global{how.capitalize()}Pooling{len(input_shape) - 1}D", {"name": name})

    return make


def plain(kind, output_shape=None, **options):
    """A layer without weights: ``plain("Activation", activation="tanh")``."""

    def make(rng, input_shape, name):
        return Layer(kind, {"name": name, **options}, (), output_shape)

    return make


def flatten():
    return plain("Flatten")


def activation(function):
    return plain("Activation", activation=function)


def chain(input_shape, *makers, seed=0, nonnegative_input=False, foreign=None):
    rng = np.random.default_rng(seed)
    layers, shape = [], tuple(input_shape)
    for number, make in enumerate(makers):
        layers.append(make(rng, shape, f"layer_{number}"))
        shape = output_shape(layers[-1], shape, foreign)
    return Network(tuple(input_shape), tuple(layers), nonnegative_input=nonnegative_input)


def inputs_for(network, n_rows=4, seed=1):
    """Random samples; of either sign unless the network's input is known to be nonnegative."""
    drawn = np.random.default_rng(seed).normal(size=(n_rows, *network.input_shape))
    return np.abs(drawn) if network.nonnegative_input else drawn


@st.composite
def _between(draw, activations):
    """What may stand between a dense layer and the next."""
    makers = []
    if draw(st.booleans()):
        makers.append(batch_norm(scale=draw(st.booleans()), center=draw(st.booleans())))
    makers.append(draw(st.sampled_from([activation(name) for name in activations])))
    if draw(st.booleans()):
        makers.append(plain("Dropout", rate=0.3))
    return makers


@st.composite
def _dense_layers(draw, activations, least):
    """Hidden dense layers with what lies between, and an output layer."""
    makers = []
    for _ in range(draw(st.integers(least, 3))):
        inside = draw(st.booleans())
        function = draw(st.sampled_from(activations)) if inside else "linear"
        makers.append(dense(draw(st.integers(1, 7)), function, draw(st.booleans())))
        if not inside:
            makers.extend(draw(_between(activations)))
    makers.append(dense(3, draw(st.sampled_from(["linear", "softmax"])), draw(st.booleans())))
    return makers


@st.composite
def _cell_layers(draw, length, activations, poolings):
    """A convolutional cell for `length` positions an axis at least, and how many it leaves."""
    size, strides = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 1, 2]))
    padding = draw(st.sampled_from(["same", "valid"])) if length >= size + 2 else "same"
    inside = draw(st.booleans())
    function = draw(st.sampled_from(activations)) if inside else "linear"
    makers = [conv(draw(st.integers(1, 4)), size, strides, padding, function, draw(st.booleans()))]
    length = -(-length // strides) if padding == "same" else (length - size) // strides + 1
    how = draw(st.sampled_from(poolings))
    if how is not None:
        padding = draw(st.sampled_from(["same", "valid"])) if length >= 3 else "same"
        makers.append(pooling(how, padding=padding))
        length = -(-length // 2) if padding == "same" else length // 2
    if draw(st.booleans()):
        makers.append(batch_norm(scale=draw(st.booleans()), center=draw(st.booleans())))
    if not inside:
        makers.append(activation(draw(st.sampled_from(activations))))
    return makers, length


@st.composite
def dense_stacks(draw, activations=ANY_ACTIVATION):
    makers = draw(_dense_layers(activations, least=1))
    return chain((draw(st.integers(1, 6)),), *makers, seed=draw(_SEEDS), nonnegative_input=draw(st.booleans()))


@st.composite
def conv_stacks(draw, axes=2, activations=ANY_ACTIVATION, poolings=(None, "average", "max")):
    """One or two cells, ``Flatten`` or a global pooling, dense layers."""
    lengths = draw(st.tuples(*[st.integers(3, 11 if axes == 1 else 8)] * axes))
    makers, shortest = [], min(lengths)
    for _ in range(draw(st.integers(1, 2))):
        cell, shortest = draw(_cell_layers(shortest, activations, poolings))
        makers.extend(cell)
    ways = [flatten(), flatten(), global_pooling("average"), *([global_pooling("max")] if "max" in poolings else [])]
    makers.append(draw(st.sampled_from(ways)))
    makers.extend(draw(_dense_layers(activations, least=0)))
    shape = (*lengths, draw(st.integers(1, 3)))
    return chain(shape, *makers, seed=draw(_SEEDS), nonnegative_input=draw(st.booleans()))


@st.composite
def bare_images(draw, activations=ANY_ACTIVATION):
    """Images without a channel axis that go straight to ``Flatten``."""
    shape = draw(st.tuples(st.integers(3, 11), st.integers(3, 11)))
    makers = [flatten(), *draw(_dense_layers(activations, least=0))]
    return chain(shape, *makers, seed=draw(_SEEDS), nonnegative_input=draw(st.booleans()))


_SEEDS = st.integers(0, 2**16)


def any_network(activations=ANY_ACTIVATION):
    return st.one_of(
        dense_stacks(activations), conv_stacks(1, activations), conv_stacks(2, activations), bare_images(activations)
    )
