"""scikit-learn's own callbacks, such as its progress bar: ``fit`` is a task, each generation one of its subtasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .search.hooks import SearchCallback

__all__ = ["CallbackSupport", "FitTask", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
    from sklearn.callback import with_callbacks
except ImportError:  # scikit-learn before 1.9 has none.

    class CallbackSupport:  # type: ignore[no-redef]
        """Nothing: this version of scikit-learn has no callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        return method


class FitTask(SearchCallback):
    """Tells scikit-learn's callbacks of an estimator how its search goes on.

    Parameters
    ----------
    estimator : BaseEstimator
    data : dict
        ``X``, ``y`` and ``metadata``, which callbacks may ask for.
    fitted : callable
        The fitted attributes of an estimator whose fit had stopped with a search as it is.
    """

    def __init__(self, estimator: Any, data: dict[str, Any], fitted: Callable[[Any], dict[str, Any]]) -> None:
        self._told = {"estimator": estimator, **data}
        self._fitted = fitted
        self._task = estimator._init_callback_context(max_subtasks=None)
        self._generation: Any = None

    @classmethod
    def of(cls, estimator: Any, data: dict[str, Any], fitted: Callable[[Any], dict[str, Any]]) -> list[FitTask]:
        """One if somebody follows `estimator`, else none."""
        is_followed = hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")
        return [cls(estimator, data, fitted)] if is_followed else []

    def on_search_begin(self, search: Any) -> None:
        self._task.call_on_fit_task_begin(**self._told)

    def on_generation_begin(self, search: Any) -> None:
        self._generation = self._task.subcontext(task_name="generation")
        self._generation.call_on_fit_task_begin(**self._told)

    def on_generation_end(self, search: Any) -> None:
        if self._generation.call_on_fit_task_end(**self._told, reconstruction_attributes=lambda: self._fitted(search)):
            search.stop()

    def on_search_end(self, search: Any) -> None:
        self._task.call_on_fit_task_end(**self._told, reconstruction_attributes=lambda: self._fitted(search))
