"""Evolutionary cross-topology architecture search for Keras.

Start from your own ``keras.Sequential`` model and get a better or far smaller one back, trained.
"""

from .backend import choose_backend

choose_backend()

from .callback import ECToNASCallback  # noqa: E402
from .errors import ECToNASError, InputError, MissingExtraError, SearchError, SurgeryError  # noqa: E402
from .rules import LayerRule, Producer, Role, register_rule  # noqa: E402
from .search.hooks import SearchCallback  # noqa: E402
from .settings import PAPER  # noqa: E402
from .trainer import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "PAPER",
    "ECToNASCallback",
    "ECToNASClassifier",
    "ECToNASError",
    "ECToNASRegressor",
    "ECToNASTrainer",
    "InputError",
    "LayerRule",
    "MissingExtraError",
    "Producer",
    "Role",
    "SearchCallback",
    "SearchError",
    "SurgeryError",
    "register_rule",
]
