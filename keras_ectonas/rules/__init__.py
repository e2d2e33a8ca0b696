"""One rule for each kind of layer that surgery understands; every other layer is a wall.

`register_rule` teaches surgery a layer of one's own.
"""

from __future__ import annotations

from ..errors import InputError
from ..network import Layer
from .base import LayerRule, Producer, Role
from .dense import DenseRule
from .featurewise import BatchNormalizationRule, PReLURule, UnweightedRule
from .reindex import FlattenRule, ReshapeRule, WallRule
from .spatial import ConvRule, GlobalPoolRule, PaddingRule, PoolRule, UpSamplingRule

__all__ = ["LayerRule", "Producer", "Role", "producer_rule", "register_rule", "role_of", "rule_for"]

_WALL = WallRule()
_RULES: dict[str, LayerRule] = {
    "Dense": DenseRule(),
    "BatchNormalization": BatchNormalizationRule(),
    "PReLU": PReLURule(),
    "Flatten": FlattenRule(),
    "Reshape": ReshapeRule(),
}
for _axes in ("1D", "2D", "3D"):
    _RULES[f"Conv{_axes}"] = ConvRule()
    _RULES[f"ZeroPadding{_axes}"] = PaddingRule()
    _RULES[f"UpSampling{_axes}"] = UpSamplingRule()
    _RULES[f"SpatialDropout{_axes}"] = UnweightedRule()
    for _kind in ("Average", "Max"):
        _RULES[f"{_kind}Pooling{_axes}"] = PoolRule()
        _RULES[f"Global{_kind}Pooling{_axes}"] = GlobalPoolRule()
for _name in (
    "Activation",
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "ELU",
    "GaussianDropout",
    "GaussianNoise",
    "LeakyReLU",
    "ReLU",
):
    _RULES[_name] = UnweightedRule()


def rule_for(layer: Layer) -> LayerRule:
    """The rule of a layer; a wall where there is none or its configuration is not understood.

    A layer whose weights are frozen is a wall, too: whoever froze them wants them as they are.
    """
    if layer.weights and not layer.config.get("trainable", True):
        return _WALL
    rule = _RULES.get(layer.kind)
    return rule if rule is not None and rule.understands(layer) else _WALL


def role_of(layer: Layer) -> Role:
    return rule_for(layer).role


def producer_rule(layer: Layer) -> Producer | None:
    """The rule of a dense layer or convolution, None for any other layer."""
    rule = rule_for(layer)
    return rule if isinstance(rule, Producer) else None


def register_rule(kind: str, rule: LayerRule) -> None:
    """Teach surgery a layer of one's own.

    Parameters
    ----------
    kind : str
        The name under which Keras saves the class: ``keras.saving.get_registered_name(cls)``.
    rule : LayerRule
        What surgery may rely on.

    Raises
    ------
    InputError
        If `rule` is not a `LayerRule`, or `kind` is a layer that the library explains itself.
    """
    if not isinstance(rule, LayerRule):
        raise InputError(f"rule must be a LayerRule, got {type(rule).__name__}.")
    if kind in _BUILT_IN:
        raise InputError(f"kind={kind!r} has a built-in rule, which cannot be exchanged.")
    _RULES[kind] = rule


_BUILT_IN = frozenset(_RULES)
