"""The GPU benchmark needs only torch, NumPy and SciPy, and runs at a small size without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# As on a machine with torch, NumPy and SciPy only: our other dependencies cannot be imported.
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
# Except for those that torch itself may import.
OURS = (
    "nibabel", "SimpleITK", "cc3d", "edt", "fill_voids", "skimage", "safetensors", "pydantic", "typer",
    "rich", "matplotlib", "tensorboard", "psutil", "pyarrow", "fast_simplification", "starlette", "uvicorn",
    "isal", "lightning_fabric", "distributed", "dask",
)  # fmt: skip


def test_it_needs_torch_numpy_and_scipy_only() -> None:
    # networkx and jinja2 are optional dependencies of torch too.
    code = BLOCKED.format(
        blocked=tuple(name for name in OURS if name not in ("networkx", "jinja2")), folder=str(BENCHMARKS)
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
def test_it_runs_at_a_small_size() -> None:
    process = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_cohort.py"), "--cases", "4", "--visits", "30", "--details", "10"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    for word in ("fit", "unify", "Mpoints/s", "Dice on whole volumes", "peak arithmetic"):
        assert word in process.stdout
