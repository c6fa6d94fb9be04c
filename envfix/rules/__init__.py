"""One file per cause: how facts prove it, what mends it, and its manual page (the file's docstring)."""
