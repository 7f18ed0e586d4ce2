"""Tests of the front door: every name is there, and nothing is imported before it is used."""

import subprocess
import sys

import pytest

import heartmend


def test_every_public_name_exists() -> None:
    for name in heartmend.__all__:
        assert getattr(heartmend, name) is not None
    assert heartmend.__all__ == sorted(heartmend.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="heal"):
        _ = heartmend.heal


def test_the_import_loads_neither_torch_nor_simpleitk_nor_numpy() -> None:
    code = "import sys, heartmend; print([m for m in ('torch', 'SimpleITK', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
