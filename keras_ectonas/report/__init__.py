"""Pictures of a search, and a page that holds them all. Matplotlib is imported only by what draws with it."""

from .displays import FamilyTreeDisplay, LineageDisplay, MutationDisplay, ParetoFrontDisplay
from .page import write_report

__all__ = ["FamilyTreeDisplay", "LineageDisplay", "MutationDisplay", "ParetoFrontDisplay", "write_report"]
