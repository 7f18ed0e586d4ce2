"""Steps of every kind of fit on a simulated device: all tensors are there, no step waits for it, few kernels a step."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from heartmend.training.loop import REPORT_EVERY

TESTS = Path(__file__).parents[1]
BENCHMARKS = TESTS.parent / "benchmarks"
MAX_LAUNCHES = {"fit": 315, "unify": 375}
"""A few more than a step of two structures has; docs/results/performance.md has the numbers."""


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    """Operations of a step that start a kernel, and reads of a fit of 25 steps."""
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this version of torch cannot simulate a device")
    command = [sys.executable, "-m", "support.fake_device"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=TESTS, env=env)
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout)


def test_a_step_stays_on_its_device_and_does_not_wait(counted: dict[str, Any]) -> None:
    assert counted.keys() >= {"fit", "unify"}


@pytest.mark.parametrize("kind", MAX_LAUNCHES)
def test_a_step_starts_few_kernels(counted: dict[str, Any], kind: str) -> None:
    assert 0.9 * MAX_LAUNCHES[kind] <= counted[kind]["step"] <= MAX_LAUNCHES[kind]
    # The Dice of a report costs little, and the first step only sets up the moments.
    assert counted[kind]["report"] - counted[kind]["step"] < 30
    assert counted[kind]["first"] - counted[kind]["step"] < 30


def test_only_reports_wait_for_the_device(counted: dict[str, Any]) -> None:
    steps = counted["reads"]["reports"]
    assert steps == [REPORT_EVERY, 2 * REPORT_EVERY, 25]
    # The loss, a number, and the Dice of each structure, a tensor.
    assert counted["reads"]["waits"] == {"_local_scalar_dense.default": len(steps), "_to_copy.default": len(steps)}
