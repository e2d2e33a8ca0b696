"""The compiled engine for JAX. Imported only where it is used, because it imports JAX."""

from .engine import CompiledEngine
from .support import reason_against

__all__ = ["CompiledEngine", "reason_against"]
