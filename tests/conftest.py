"""Tests run on JAX unless ``KERAS_BACKEND`` says otherwise."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
