"""Complete run by torchrun with two processes on CPU cores: the same label maps as with one process."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from support.cohorts import write_cohort


@pytest.mark.slow
def test_a_run_under_torchrun_writes_the_same_label_maps(tmp_path: Path) -> None:
    labels = write_cohort(tmp_path)
    command = ["-m", "heartmend", "run", str(labels), "--config", str(tmp_path / "small.toml"), "--device", "cpu",
               "--workers", "1", "--out"]  # fmt: skip
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = {}
    for name, launcher in (("one", []), ("two", two)):
        process = subprocess.run(
            [sys.executable, *launcher, *command, str(tmp_path / name)],
            capture_output=True, text=True, env=environment, timeout=900,
        )  # fmt: skip
        assert process.returncode == 0, process.stdout + process.stderr
        printed[name] = process.stdout
    # Only the main process prints.
    assert printed["two"].count("3 cases repaired, 0 skipped") == 1
    for path in sorted((tmp_path / "one" / "labels").iterdir()):
        a, b = (np.asanyarray(nib.load(tmp_path / name / "labels" / path.name).dataobj) for name in ("one", "two"))
        assert (a != b).mean() < 1e-3
