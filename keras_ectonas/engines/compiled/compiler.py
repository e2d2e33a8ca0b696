"""Compilation for what small networks need."""

from __future__ import annotations

from typing import Any, Final

import jax

__all__ = ["compiled", "on_cpu"]

_ONE_THREAD: Final = {"xla_cpu_multi_thread_eigen": False}
"""Tiny kernels gain nothing from threads of their own."""

_QUICKLY: Final = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_backend_optimization_level": 1,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""Compiles in a third of the time to code that takes up to two and a half times as long."""


def on_cpu() -> bool:
    """Whether programs run on a CPU."""
    return bool(jax.default_backend() == "cpu")


def compiled(lowered: Any, quickly: bool) -> Any:
    """What a traced program is compiled to.

    Parameters
    ----------
    lowered : jax.stages.Lowered
    quickly : bool
        Whether little time is to be spent on it, at the cost of speed.

    Returns
    -------
    jax.stages.Compiled
    """
    if not on_cpu():
        return lowered.compile()
    try:
        return lowered.compile(compiler_options={**_ONE_THREAD, **(_QUICKLY if quickly else {})})
    except jax.errors.JaxRuntimeError as error:
        # The options are XLA's own and may change from version to version.
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()
