"""Small finished run of three hearts of ellipsoids; the id of one is HTML code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from support.cohorts import SHAPE, write_cohort
from support.volumes import save_nifti

ODD = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def finished_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return OUT of the run; labels/ and images/ are beside it."""
    base = tmp_path_factory.mktemp("report")
    write_cohort(base)
    (base / "labels" / "3.nii.gz").rename(base / "labels" / f"{ODD}.nii.gz")
    ct = np.random.default_rng(0).normal(40, 20, SHAPE)
    save_nifti(base / "images" / f"{ODD}.nii.gz", ct, np.int16, np.diag([-2.0, -2.0, 2.0, 1.0]))
    request = Request(base / "labels", base / "out", device="cpu", workers=1)
    assert len(run(request, load_config("mend", base / "small.toml")).cases) == 3
    return base / "out"
