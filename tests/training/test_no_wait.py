"""Steps of every kind of fit on a device that only pretends to be there: nothing lies elsewhere, or is waited for."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parents[1]


def test_a_step_stays_on_its_device_and_waits_for_nothing() -> None:
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch cannot pretend to have a device")
    command = [sys.executable, "-m", "support.pretended_device"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=TESTS)
    assert ran.returncode == 0, ran.stderr[-3000:]
