"""The version of envfix."""

__version__ = "0.1.0"
