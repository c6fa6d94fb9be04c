"""What conda calls platforms, and how it writes a CUDA into the build of a package."""

from __future__ import annotations

import re

SUBDIRS = {
    "linux_x86_64": "linux-64",
    "linux_aarch64": "linux-aarch64",
    "linux_s390x": "linux-s390x",
    "win_amd64": "win-64",
    "win_arm64": "win-arm64",
    "macosx_arm64": "osx-arm64",
    "macosx_x86_64": "osx-64",
}
# cuda11.1 and cuda10.2.89 of the pytorch channel, cuda118 of conda-forge and defaults, cu111 of torchvision.
CUDA_IN_BUILD = re.compile(r"(?:^|_)(?:cuda|cu)(?:(?P<dotted>\d{1,2}\.\d{1,2})(?:\.\d+)*|(?P<short>\d{2,3}))(?=_|py|$)")
