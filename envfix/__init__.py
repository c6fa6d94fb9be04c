"""envfix finds, explains and mends broken torch + CUDA environments, and proves the result with a YOLOv8 prediction."""

from envfix._version import __version__

__all__ = ["__version__"]
