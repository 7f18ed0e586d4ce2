"""Steps of every kind of fit on a simulated device: all tensors are there, and no step waits for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parents[1]
BENCHMARKS = TESTS.parent / "benchmarks"


def test_a_step_stays_on_its_device_and_does_not_wait() -> None:
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this version of torch cannot simulate a device")
    command = [sys.executable, "-m", "support.fake_device"]
    env = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=TESTS, env=env)
    assert process.returncode == 0, process.stderr[-3000:]
