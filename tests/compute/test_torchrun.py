"""A whole run begun by torchrun, two processes on CPU cores: one leads, the other helps, and the maps are the same."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from support.cohorts import write_cohort


@pytest.mark.slow
def test_a_run_under_torchrun_mends_as_one_process_does(tmp_path: Path) -> None:
    labels = write_cohort(tmp_path)
    command = ["-m", "heartmend", "run", str(labels), "--config", str(tmp_path / "small.toml"), "--device", "cpu",
               "--workers", "1", "--out"]  # fmt: skip
    two = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = {}
    for name, begun in (("one", []), ("two", two)):
        ran = subprocess.run(
            [sys.executable, *begun, *command, str(tmp_path / name)], capture_output=True, text=True, env=environment,
            timeout=900,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        said[name] = ran.stdout
    # The one that helps says nothing.
    assert said["two"].count("3 cases done, 0 skipped") == 1
    for path in sorted((tmp_path / "one" / "labels").iterdir()):
        a, b = (np.asanyarray(nib.load(tmp_path / name / "labels" / path.name).dataobj) for name in ("one", "two"))
        assert (a != b).mean() < 1e-3
