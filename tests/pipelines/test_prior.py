"""Tests of a run with a prior: the template of other hearts in place of a fitted one."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import heartmend as hm
from heartmend.anatomy.load import load_anatomy
from heartmend.cli.main import app
from heartmend.errors import ConfigError
from heartmend.models.heart_model import evaluate_labels, grid_with_spacing
from heartmend.models.model_file import save_heart_model
from heartmend.models.prior import load_built_in_prior
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.run import MAX_PRIOR_CASES, find_prior
from support.cohorts import write_cohort
from support.models import frame, ragged, two_balls, unseen_heart
from support.volumes import save_nifti

HEART = load_anatomy("heart")
MYOCARDIUM, AORTA, LAA = (HEART.by_name(name).id for name in ("Myocardium", "Aorta", "LAA"))


def heartmend(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.zip"
    save_heart_model(path, two_balls(spread=0.0))
    return path


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return unseen_heart()


@pytest.fixture(scope="module")
def noisy(truth: np.ndarray) -> np.ndarray:
    return ragged(truth, 0.5, seed=0)


def test_the_prior_is_chosen_by_name_settings_and_anatomy(model_path: Path) -> None:
    built_in, most = find_prior("auto", Config(), HEART)
    assert [path.name for path in built_in] == ["heart-female.zip", "heart-male.zip"] and most == MAX_PRIOR_CASES
    assert find_prior("none", Config(), HEART) == ((), 0)
    assert find_prior("auto", Config(), load_anatomy("adrenal"))[0] == ()
    assert find_prior("auto", load_config("reference"), HEART) == ((), 0), "it has no template"
    found, most = find_prior(str(model_path), Config(), HEART)
    assert found == (model_path.resolve(),) and most > 1000
    with pytest.raises(ConfigError, match="not a template"):
        find_prior(str(model_path), load_config("reference"), HEART)


def test_a_run_of_one_heart_with_a_prior_repairs_it_and_says_which(
    model_path: Path, noisy: np.ndarray, truth: np.ndarray, tmp_path: Path
) -> None:
    write_cohort(tmp_path, count=1)
    save_nifti(tmp_path / "labels" / "1.nii.gz", noisy, np.uint8, frame().grid.affine)
    words = ("run", tmp_path / "labels", "-o", tmp_path / "out", "--config", tmp_path / "small.toml", "--workers", 1,
             "--prior", model_path)  # fmt: skip
    done = heartmend(*words)
    assert done.exit_code == 0, done.output
    assert "model.zip (--prior)" in done.stderr
    assert json.loads((tmp_path / "out" / "run" / "prior.json").read_text())["model"] == "model.zip"
    assert json.loads((tmp_path / "out" / "run" / "settings.json").read_text())["request"]["prior"] == str(model_path)
    repaired = np.asarray(nib.load(tmp_path / "out" / "labels" / "1.nii.gz").dataobj)
    assert (repaired != truth).sum() < 0.9 * (noisy != truth).sum()
    assert (tmp_path / "out" / "run" / "unify" / "model.zip").is_file()
    # The same command does nothing again; without the prior the cases get a template of their own.
    fitted = tmp_path / "out" / "run" / "fit" / "model.safetensors"
    before = fitted.stat().st_mtime_ns
    assert heartmend(*words).exit_code == 0
    assert fitted.stat().st_mtime_ns == before
    done = heartmend(*words[:-1], "none")
    assert done.exit_code == 0 and "--prior" not in done.stderr
    assert json.loads((tmp_path / "out" / "run" / "prior.json").read_text()) == {}


def test_a_case_with_thin_vessels_alone_is_no_error(model_path: Path, noisy: np.ndarray, tmp_path: Path) -> None:
    write_cohort(tmp_path, count=1)
    vessel = np.zeros_like(noisy)
    vessel[4:28, 10:12, 10:12] = 9
    for name, values in (("1", noisy), ("2", vessel)):
        save_nifti(tmp_path / "labels" / f"{name}.nii.gz", values, np.uint8, frame().grid.affine)
    result = hm.run(
        tmp_path / "labels", tmp_path / "out", config=tmp_path / "small.toml", workers=1, stop_after="fuse",
        prior=model_path,
    )  # fmt: skip
    assert result.cases == ("1", "2") and result.prior == "model.zip"
    assert np.isin(np.asarray(nib.load(tmp_path / "out" / "labels" / "2.nii.gz").dataobj), (0, 9)).all()


@pytest.fixture(scope="module")
def heart() -> tuple[np.ndarray, np.ndarray]:
    """LA and LV of one of the hearts of the prior, with rough borders, and the truth; 3 mm, values of MM-WHS."""
    model = load_built_in_prior("heart")[0]
    own = model.heart(model.codes.ids[0])
    labels = evaluate_labels(model, own, grid_with_spacing(own.frame, 3.0))
    truth = np.select([labels == 3, labels == 2], [500, 420], 0).astype(np.int16)
    return ragged(truth, 0.6, seed=1), truth


AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def test_one_map_of_a_part_of_a_heart_needs_no_model_and_no_folder(
    heart: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    noisy, truth = heart
    fixed = hm.repair_labels(noisy, AFFINE, preset_ids="mmwhs")
    assert fixed.heart.startswith("Visible Human")
    assert (fixed.labels != truth).sum() < 0.95 * (noisy != truth).sum()
    assert set(np.unique(fixed.labels)) == {0, 420, 500}, "the rest of the heart does not appear"
    source, out = tmp_path / "heart.nii.gz", tmp_path / "new" / "fixed.nii.gz"
    save_nifti(source, noisy, np.int16, AFFINE)
    before = source.read_bytes()
    done = heartmend("repair", source, "-o", out, "--explain", "--preset-ids", "mmwhs")
    assert done.exit_code == 0, done.output
    assert "prior: Visible Human" in done.stdout
    image = nib.load(out)
    assert image.get_data_dtype() == np.int16 and np.array_equal(image.affine, AFFINE)
    assert np.array_equal(np.asarray(image.dataobj), fixed.labels), "the same as in memory"
    assert source.read_bytes() == before


def test_a_heart_without_an_appendage_that_the_field_of_view_cuts_is_repaired_and_stays_so() -> None:
    model = load_built_in_prior("heart")[1]
    own = model.heart(model.codes.ids[0])
    whole = evaluate_labels(model, own, grid_with_spacing(own.frame, 3.0))
    whole[whole == LAA] = 0
    apex = int(np.argwhere(whole == MYOCARDIUM)[:, 2].min())
    # The array ends 24 mm above the apex; 15 mm below the top of the aorta the scan ends and padding begins.
    truth = whole[:, :, apex + 8 :].copy()
    end = int(np.argwhere(truth == AORTA)[:, 2].max()) - 5
    truth[:, :, end:] = 0
    noisy = ragged(truth, 0.6, seed=1)
    noisy[:, :, end:] = 0
    fixed = hm.repair_labels(noisy, AFFINE)
    labels = np.asarray(fixed.labels)
    assert labels.shape == truth.shape and fixed.heart.startswith("Visible Human")
    assert not (labels == LAA).any(), "what is absent stays absent"
    assert not labels[:, :, end:].any(), "what the field of view cut off is not completed"
    assert set(np.unique(labels)) == set(np.unique(noisy))
    assert (labels != truth).sum() < 0.9 * (noisy != truth).sum(), "the rest is repaired"
    assert (labels[:, :, 0] > 0).sum() > 0.9 * (truth[:, :, 0] > 0).sum(), "the cut face is no border of the heart"


def test_vessels_alone_are_repaired_without_a_template() -> None:
    labels = np.zeros((40, 24, 24), np.uint8)
    labels[4:18, 10:13, 10:13] = labels[20:36, 10:13, 10:13] = 9
    fixed = hm.repair_labels(labels, np.eye(4))
    assert fixed.heart == "" and (fixed.labels[18:20] == 9).any(), "the gap is bridged"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.nii.gz", "-o", "x.nii.gz"), "there is no such file"),
        (("a.nii.gz", "-o", "a.nii.gz"), "never written to"),
        (("a.nii.gz", "-o", "x.nrrd"), "has another ending"),
        (("a.nii.gz", "-o", "folder"), "is a folder"),
        (("a.nii.gz", "-o", "x.nii.gz", "--structures", "spleen"), "spleen"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_nifti(tmp_path / "a.nii.gz", np.full((8, 8, 8), 3), np.uint8, np.eye(4))
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    done = heartmend("repair", *words)
    assert done.exit_code != 0 and message in str(done.exception or done.output) + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "folder"]
