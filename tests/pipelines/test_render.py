"""Tests of rendering a case of a run that is not unified."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import ConfigError, RunError
from heartmend.pipelines.render import RenderSettings, write_render
from heartmend.run_folder.folder import RunFolder
from heartmend.training.initialise import initialise_template
from support.hearts import HEADS, on_roi, prepared, samples_of, small_heart
from support.stages import store


def test_a_fitted_shape_is_rendered_at_any_resolution(tmp_path: Path) -> None:
    heart, out = small_heart(1), tmp_path / "out"
    model = initialise_template(HEADS, [samples_of("a", heart, [3, 5])], lambda _: on_roi(heart), side=32, controls=6)
    (tmp_path / "labels").mkdir()
    with RunFolder.open(out, tmp_path / "labels") as run:
        store(run, prepared("a", heart))
        run.write_anatomy(load_anatomy("heart"))
        with pytest.raises(RunError, match="has no fitted shape"):
            write_render(out, "a", tmp_path / "x.nii.gz")
        run.write_fitted(*model)
    write_render(out, "a", tmp_path / "labels.nii.gz", RenderSettings(48))
    image = nib.load(tmp_path / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    assert labels.shape == (48, 48, 48)
    assert image.header.get_zooms() == pytest.approx((64 / 48,) * 3)
    for id in HEADS.values():
        volumes = (labels == id).sum() / 48**3, (heart == id).sum() / 32**3
        assert volumes[0] == pytest.approx(volumes[1], rel=0.1)
    write_render(out, "a", tmp_path / "lv.nii.gz", RenderSettings(48, probability_of="LV"))
    probability = np.asarray(nib.load(tmp_path / "lv.nii.gz").dataobj)
    assert 0 <= probability.min() < 0.01 and 0.99 < probability.max() <= 1
    assert ((probability > 0.5) == (labels == 3)).mean() > 0.999
    with pytest.raises(ConfigError, match="not part of the fit"):
        write_render(out, "a", tmp_path / "x.nii.gz", RenderSettings(48, probability_of="LA"))
    with pytest.raises(ConfigError, match="--reference-image"):
        write_render(out, "a", tmp_path / "x.nii.gz", RenderSettings(reference_image=tmp_path / "labels.nii.gz"))
