"""The commands that use a model, on a small data set that is repaired once."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from heartmend.cli.main import app
from heartmend.errors import RunError
from heartmend.pipelines.config import load_config
from heartmend.pipelines.embed import EmbedRequest, embed
from heartmend.pipelines.run import Request, run
from heartmend.run_folder.folder import model_file
from heartmend.stages.embed import EmbedSettings
from heartmend.training.schedule import Phase
from support.cohorts import write_cohort

QUICK = EmbedSettings(
    place_phases=(Phase(steps=30, code_lr=0.01, shape_lr=0, controls=5, tolerance_mm=3.0),),
    template_phase=Phase(steps=5, code_lr=0.004, shape_lr=0), points=300, resolution=32,
    detail_phase=Phase(steps=5, code_lr=0.03, shape_lr=0, loss="joint"),
)  # fmt: skip


def heartmend(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels/ and out/ with a unified run of four hearts; not to be changed."""
    folder = tmp_path_factory.mktemp("unified")
    write_cohort(folder, count=4)
    run(Request(folder / "labels", folder / "out", device="cpu", workers=1),
        load_config("mend", folder / "small.toml"))  # fmt: skip
    return folder


def test_a_run_makes_a_model_unless_it_stops_before(unified: Path, tmp_path: Path) -> None:
    assert model_file(unified / "out") == (unified / "out" / "run" / "unify" / "model.zip").resolve()
    write_cohort(tmp_path, count=3)
    run(Request(tmp_path / "labels", tmp_path / "out", device="cpu", workers=1, stop_after="fuse"),
        load_config("mend", tmp_path / "small.toml"))  # fmt: skip
    with pytest.raises(RunError, match="heartmend unify"):
        model_file(tmp_path / "out")
    # The shape of `fit` can be rendered, but not on another grid.
    done = heartmend("render", tmp_path / "out", "1", "-o", tmp_path / "x.nii.gz", "--resolution", 20)
    assert done.exit_code == 0 and nib.load(tmp_path / "x.nii.gz").shape == (20, 20, 20)
    reference = tmp_path / "labels" / "1.nii.gz"
    words = ("render", tmp_path / "out", "1", "-o", tmp_path / "y.nii.gz", "--reference-image", reference)
    assert "--reference-image" in heartmend(*words).stderr


def test_render_from_the_file_and_from_the_run_is_one_map(unified: Path, tmp_path: Path) -> None:
    for name, model in (("a", unified / "out"), ("b", unified / "out" / "run" / "unify" / "model.zip")):
        done = heartmend("render", model, "2", "-o", tmp_path / f"{name}.nii.gz", "--resolution", 32)
        assert done.exit_code == 0, done.output
    a, b = (np.asarray(nib.load(tmp_path / f"{name}.nii.gz").dataobj) for name in "ab")
    assert (a == b).all() and a.dtype == np.uint8
    assert set(np.unique(a)) == {0, 2, 3, 5}


def test_render_on_the_grid_of_a_file(unified: Path, tmp_path: Path) -> None:
    for id in ("1", "3"):
        reference = unified / "labels" / f"{id}.nii.gz"
        done = heartmend("render", unified / "out", id, "-o", tmp_path / "x.nii.gz", "--reference-image", reference)
        assert done.exit_code == 0, done.output
        image, given = nib.load(tmp_path / "x.nii.gz"), nib.load(reference)
        assert image.shape == given.shape and np.allclose(image.affine, given.affine)
        fused = np.asarray(nib.load(unified / "out" / "labels" / f"{id}.nii.gz").dataobj)
        rendered = np.asarray(image.dataobj)
        assert 2 * ((rendered == 3) & (fused == 3)).sum() / ((rendered == 3).sum() + (fused == 3).sum()) > 0.85
    done = heartmend("render", unified / "out", "3", "-o", tmp_path / "p.nii.gz", "--probability", "LV")
    probability = np.asarray(nib.load(tmp_path / "p.nii.gz").dataobj)
    assert done.exit_code == 0 and 0 <= probability.min() < 0.01 and 0.9 < probability.max() <= 1


def test_mesh_writes_every_format(unified: Path, tmp_path: Path) -> None:
    words = ("mesh", unified / "out", "1", "-o", tmp_path, "--formats", "stl,vtp,glb", "--spacing-mm", 3)
    done = heartmend(*words, "--structures", "lv,RV")
    assert done.exit_code == 0, done.output
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"1.glb", "1_LV.stl", "1_LV.vtp", "1_RV.stl", "1_RV.vtp"}


def test_population_draws_modes_and_outliers(unified: Path, tmp_path: Path) -> None:
    done = heartmend("population", unified / "out", "-o", tmp_path, "--between", "3,4", "--modes", 1)
    assert done.exit_code == 0, done.output
    assert {p.name for p in tmp_path.iterdir()} == {"modes.png", "hearts.png", "hearts.csv", "between_3_4.png"}
    lines = (tmp_path / "hearts.csv").read_text().splitlines()
    assert lines[0].startswith("case,distance_mm,reconstruction_residual_mm,outlier_z")
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert "two case ids" in heartmend("population", unified / "out", "-o", tmp_path, "--between", "3").stderr


def test_embed_repairs_new_cases_and_completes_missing_structures(unified: Path, tmp_path: Path) -> None:
    labels = write_cohort(tmp_path, count=2)
    (labels / "3.nii.gz").write_bytes(b"no volume")
    model = model_file(unified / "out")
    before = model.read_bytes()
    settings = QUICK.model_copy(update={"complete": True})
    found = embed(EmbedRequest(model, labels, tmp_path / "new", workers=1), settings)
    assert found.cases == ("1", "2") and list(found.skipped) == ["3"]
    assert model.read_bytes() == before
    original, repaired = (nib.load(folder / "2.nii.gz") for folder in (labels, tmp_path / "new" / "labels"))
    assert repaired.header.binaryblock == original.header.binaryblock
    # The second heart has no RA.
    assert (np.asarray(original.dataobj) == 4).sum() == 0
    assert (np.asarray(repaired.dataobj) == 4).sum() > 100
    done = heartmend("render", tmp_path / "new", "2", "-o", tmp_path / "x.nii.gz", "--resolution", 24)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("render", "9", "-o", "x.nii.gz"), "does not contain case '9'"),
        (("render", "1", "-o", "x.nii.gz", "--probability", "spleen"), "spleen"),
        (("mesh", "1", "-o", "meshes", "--structures", "spleen"), "spleen"),
        (("population", "-o", "pictures", "--between", "1,9"), "does not contain case '9'"),
    ],
)
def test_errors_are_one_line(
    unified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = heartmend(words[0], unified / "out", *words[1:])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ") and text in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(b"nothing")
    assert "not a heart model" in heartmend("render", tmp_path / "m.zip", "1", "-o", tmp_path / "x.nii.gz").stderr
    assert heartmend("render", tmp_path / "none.zip", "1", "-o", tmp_path / "x.nii.gz").exit_code == 1
