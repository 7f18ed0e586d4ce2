"""The versions of the software that a result depends on."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from heartmend.version import __version__

_PACKAGES = (
    "torch", "numpy", "scipy", "nibabel", "SimpleITK", "connected-components-3d", "edt", "fill-voids", "scikit-image",
    "networkx", "safetensors", "pydantic", "isal",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Collect the versions of Heartmend, Python, the platform and the packages that the result may depend on.

    Returns:
        Name -> version.
    """
    found = {"heartmend": __version__, "python": platform.python_version(), "platform": platform.platform(),
             "byte order": sys.byteorder}  # fmt: skip
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
