"""Tests run on JAX unless ``KERAS_BACKEND`` says otherwise, and draw the same numbers in any order."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def the_same_numbers_in_any_order(request):
    """A module's generator begins anew with each test."""
    generator = getattr(request.module, "RNG", None)
    if generator is not None:
        generator.bit_generator.state = np.random.default_rng(0).bit_generator.state
