"""The benchmark for a GPU cannot rot: it needs no more than it says, and runs small where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# As on a machine with torch, NumPy and SciPy alone: what we depend on else is not there.
BLOCKED = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.path.insert(0, {folder!r})
import gpu_cohort
"""
# But for what torch itself may read.
OURS = (
    "nibabel", "SimpleITK", "cc3d", "edt", "fill_voids", "skimage", "safetensors", "pydantic", "typer",
    "rich", "matplotlib", "tensorboard", "psutil", "pyarrow", "fast_simplification", "starlette", "uvicorn",
    "isal", "lightning_fabric", "distributed", "dask",
)  # fmt: skip


def test_it_needs_torch_numpy_and_scipy_alone() -> None:
    # networkx and jinja2 are torch's own too, which it can be read without.
    code = BLOCKED.format(
        blocked=tuple(name for name in OURS if name not in ("networkx", "jinja2")), folder=str(BENCHMARKS)
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_it_runs_small() -> None:
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_cohort.py"), "--cases", "4", "--visits", "30", "--details", "10"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for word in ("stage 1", "stage 3", "Mpoints/s", "Dice on whole volumes", "peak arithmetic"):
        assert word in ran.stdout
