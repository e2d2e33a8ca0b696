"""Networks made by hand, without Keras, and strategies that draw them."""

import numpy as np
from hypothesis import strategies as st

from keras_ectonas.network import Layer, Network, Weight
from keras_ectonas.surgery.walk import shapes_of


class Builder:
    """Stacks layers with random weights: biases are not zero, statistics not those of a new layer."""

    def __init__(self, input_shape, seed=0, nonnegative=True):
        self.network = Network(tuple(input_shape), (), nonnegative_input=nonnegative)
        self.rng = np.random.default_rng(seed)

    @property
    def shape(self):
        return shapes_of(self.network)[-1]

    def add(self, kind, stem, weights=(), **config):
        config["name"] = self.network.unused_name(stem)
        self.network = self.network.with_layers((*self.network.layers, Layer(kind, config, tuple(weights))))
        return self

    def weight(self, name, *shape, scale=1.0, positive=False):
        value = scale * self.rng.normal(size=shape)
        value = np.abs(value) + 0.5 if positive else value
        slots = {"momentum": self.rng.normal(size=shape).astype("float32")}
        return Weight(name, value.astype("float32"), {} if name.startswith("moving") else slots)

    def dense(self, units, activation="relu", use_bias=True):
        inputs = self.shape[-1]
        weights = [self.weight("kernel", inputs, units, scale=inputs**-0.5)]
        weights += [self.weight("bias", units)] if use_bias else []
        return self.add("Dense", "dense", weights, units=units, activation=activation, use_bias=use_bias)

    def conv(self, filters, size=3, padding="same", strides=1, activation="linear", use_bias=True):
        axes, inputs = len(self.shape) - 1, self.shape[-1]
        scale = (size**axes * inputs) ** -0.5
        weights = [self.weight("kernel", *(size,) * axes, inputs, filters, scale=scale)]
        weights += [self.weight("bias", filters)] if use_bias else []
        options = {"kernel_size": [size] * axes, "strides": [strides] * axes, "padding": padding}
        options |= {"filters": filters, "activation": activation, "use_bias": use_bias}
        return self.add(f"Conv{axes}D", "conv", weights, **options)

    def pool(self, how="Average", padding="same"):
        axes = len(self.shape) - 1
        return self.add(f"{how}Pooling{axes}D", "pool", pool_size=[2] * axes, strides=[2] * axes, padding=padding)

    def norm(self):
        n = self.shape[-1]
        weights = [
            self.weight("gamma", n, positive=True),
            self.weight("beta", n),
            self.weight("moving_mean", n),
            self.weight("moving_variance", n, positive=True),
        ]
        return self.add("BatchNormalization", "norm", weights, axis=-1, epsilon=1e-3)

    def activation(self, name="relu"):
        return self.add("Activation", "activation", activation=name)

    def flatten(self):
        return self.add("Flatten", "flatten")

    def global_pool(self, how="Average"):
        return self.add(f"Global{how}Pooling{len(self.shape) - 1}D", "global", keepdims=False)

    def dropout(self):
        return self.add("Dropout", "dropout", rate=0.3)

    def inputs(self, n=6, seed=1):
        drawn = np.random.default_rng(seed).normal(size=(n, *self.network.input_shape))
        return (np.abs(drawn) if self.network.nonnegative_input else drawn).astype("float32")


ACTIVATIONS = ("relu", "relu", "tanh", "leaky_relu", "elu", "sigmoid", "linear")


@st.composite
def dense_networks(draw):
    builder = Builder((draw(st.integers(1, 6)),), draw(st.integers(0, 99)), draw(st.booleans()))
    for units in draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)):
        builder.dense(units, draw(st.sampled_from(ACTIVATIONS)), draw(st.booleans()))
        if draw(st.booleans()):
            builder.norm()
        if draw(st.booleans()):
            builder.dropout()
    return builder.dense(3, "softmax")


@st.composite
def convolutional_networks(draw):
    axes = draw(st.sampled_from([1, 2, 2]))
    sizes = [draw(st.integers(4, 9)) for _ in range(axes)]
    builder = Builder((*sizes, draw(st.integers(1, 3))), draw(st.integers(0, 99)), draw(st.booleans()))
    for filters in draw(st.lists(st.integers(1, 5), min_size=0, max_size=2)):
        padding = "valid" if min(builder.shape[:-1]) > 3 and draw(st.booleans()) else "same"
        builder.conv(filters, padding=padding, strides=draw(st.sampled_from([1, 1, 2])), use_bias=draw(st.booleans()))
        if draw(st.booleans()):
            builder.pool(draw(st.sampled_from(["Average", "Max"])))
        if draw(st.booleans()):
            builder.norm()
        builder.activation(draw(st.sampled_from(ACTIVATIONS)))
    builder.flatten() if draw(st.booleans()) else builder.global_pool()
    if draw(st.booleans()):
        builder.dense(draw(st.integers(1, 6)), draw(st.sampled_from(ACTIVATIONS)), draw(st.booleans()))
    return builder.dense(3, "softmax", draw(st.booleans()))


@st.composite
def images_without_channels(draw):
    builder = Builder((draw(st.integers(3, 8)), draw(st.integers(3, 8))), draw(st.integers(0, 99)), draw(st.booleans()))
    builder.flatten()
    if draw(st.booleans()):
        builder.dense(draw(st.integers(1, 6)), draw(st.sampled_from(ACTIVATIONS)))
    return builder.dense(3, "softmax")


def networks():
    return st.one_of(dense_networks(), convolutional_networks(), images_without_channels())
