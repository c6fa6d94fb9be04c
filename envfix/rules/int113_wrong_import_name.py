"""The module is called ``torch``, also where the package is called ``pytorch``.

What you see
    "ModuleNotFoundError: No module named 'pytorch'" after ``import pytorch``, although ``conda list`` shows pytorch.

Why
    A package's name and the name under which it is imported need not be the same: conda's package pytorch and pip's package torch
    both bring the module ``torch``. Python minds capitals: ``import Torch`` finds nothing either.

How envfix knows
    Only by the error's text in a log: which name a program imports is no fact of a machine.

How to mend
    Write ``import torch``. Where it is another one's program, look for the line that the traceback names.

What not to do
    Nothing is wrong with the environment: do not reinstall. ``pip install pytorch`` brings an empty placeholder.

Sources
    PyTorch's documentation (Get started, verification); the metadata of both packages.
"""

from __future__ import annotations

from envfix.model.finding import Remedy
from envfix.model.language import later
from envfix.model.log import Signature
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule

LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"No module named '?(?P<module>pytorch|PyTorch|Pytorch|Torch|TORCH|py-torch|Ultralytics)'?(?:[\s'\"]|$)",
            confidence=0.95,
        ),
    ),
    message=(
        later(
            "There is no module called {module}: the name to import is written `torch` (and"
            " `ultralytics`), in small letters."
        ),
        later("The module is called `torch`, in small letters, whatever its package is called."),
    ),
    remedies=(
        Remedy(
            text=later("Write `import torch` in the line that the traceback names; try it first."),
            commands=(("python", "-c", "import torch; print(torch.__version__)"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether torch itself is there."),
        commands=(("python", "-c", "import importlib.util as u; print(u.find_spec('torch'))"),),
    ),
)

RULE = Rule(
    code="INT113",
    cause="wrong_import_name",
    title=later("The module is called torch, not pytorch"),
    needs=(),
    check=None,  # facts cannot show it: only a program or its error tells which name it imports
    rank=93,
    log=LOG,
)
