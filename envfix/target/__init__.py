"""Scripts run *by the target interpreter*: standard library only, CPython 3.6 on, importing nothing of envfix.

Each is run by its path, so this folder is the first on its ``sys.path``: every file here has an unmistakable name, or it
would hide a module of the target's. Each prints its answer between two copies of a random word given by the caller, because
``sitecustomize`` and libraries may print too. Under an interpreter that is too old they say so and end with code 88.
"""
