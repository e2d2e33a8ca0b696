"""A search on disk: plain JSON and arrays, written so that a complete state is always there.

This room knows searches and networks. It knows no engine and no Keras.
"""

from .folder import Folder
from .opened import Opened, open_folder

__all__ = ["Folder", "Opened", "open_folder"]
