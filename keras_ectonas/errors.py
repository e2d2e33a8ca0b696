"""The exceptions that this library raises on purpose.

Each is also the built-in exception that a scikit-learn or Keras user would expect to catch.
"""

from __future__ import annotations

__all__ = ["ECToNASError", "InputError", "InputTypeError", "MissingExtraError", "SearchError", "SurgeryError"]


class ECToNASError(Exception):
    """Base class of every error raised on purpose by this library."""


class InputError(ECToNASError, ValueError):
    """An argument, a model or data that cannot be used, found before any work was done."""


class InputTypeError(InputError, TypeError):
    """An argument of a type that cannot be used."""


class SurgeryError(ECToNASError, ValueError):
    """An operation that cannot be carried out on the given network."""


class SearchError(ECToNASError, RuntimeError):
    """A search that cannot go on, for example because every candidate failed."""


class MissingExtraError(ECToNASError, ImportError):
    """An optional package that is needed and not installed."""
