"""Tests of the label maps that a fit learns from."""

from pathlib import Path

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import discover_cohort
from heartmend.run_folder.fit_maps import FitMaps
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.prepare import PrepareSettings, prepare_case
from support.cohorts import write_cohort
from support.volumes import save_nifti


def test_a_trusted_case_is_fitted_to_its_trusted_map_as_it_is_and_the_others_to_their_own(tmp_path: Path) -> None:
    labels = write_cohort(tmp_path, 2)
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    first = cohort.read_labels(cohort["1"])
    # A hole, which `prepare` would fill, and a voxel of another structure.
    drawn = first.labels.copy()
    middle = tuple(np.argwhere(drawn == 3).mean(axis=0).round().astype(int))
    drawn[middle] = 0
    edge = tuple(np.argwhere(drawn == 3)[0])
    drawn[edge] = 5
    save_nifti(tmp_path / "trusted" / "1.nii.gz", drawn, np.uint8, first.grid.affine)
    trusted = discover_cohort(tmp_path / "trusted", anatomy=cohort.anatomy)
    with RunFolder.open(tmp_path / "out", labels) as run:
        for case in cohort:
            prepared = prepare_case(cohort, case, PrepareSettings(resolution=32))
            run.finish("prepare", case.id, "", run.write_prepared(prepared))
        own, taught = FitMaps(run.output), FitMaps(run.output, trusted)
        box = run.roi("1").source_box()
        found = taught.read("1")
        assert (found.cleaned == drawn[box]).all() and found.cube.shape == (32, 32, 32)
        assert found.roi == own.read("1").roi and (own.read("1").cleaned != found.cleaned).any()
        assert (taught.read("2").cleaned == own.read("2").cleaned).all()
        assert own.digests(["1", "2"])[0] == taught.digests(["1", "2"])[0]
        assert taught.digests(["1", "2"])[1:] == [trusted["1"].labels_path] and own.digests(["1", "2"])[1:] == []
