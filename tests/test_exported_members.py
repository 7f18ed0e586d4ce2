"""The front door: what `import heartmend` promises is there, and nothing is loaded before it is asked for."""

import subprocess
import sys

import pytest

import heartmend


def test_every_export_is_there() -> None:
    for name in heartmend.__all__:
        assert getattr(heartmend, name) is not None
    assert heartmend.__all__ == sorted(heartmend.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'heal'"):
        _ = heartmend.heal


def test_importing_loads_neither_torch_nor_simpleitk() -> None:
    code = "import sys, heartmend; print([m for m in ('torch', 'SimpleITK', 'numpy') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
