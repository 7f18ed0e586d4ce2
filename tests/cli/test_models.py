"""The commands about models, one after the other, on a small cohort that is mended and unified once."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from heartmend.cli.main import app
from heartmend.errors import RunError
from heartmend.pipelines.config import load_config
from heartmend.pipelines.embed import embed
from heartmend.pipelines.render import unified_model
from heartmend.pipelines.run import Request, run
from heartmend.stages.embed import EmbedSettings
from heartmend.training.schedule import Phase
from support.cohorts import write_cohort

QUICK = EmbedSettings(
    placing=(Phase(steps=30, code_lr=0.01, shape_lr=0, controls=5, tolerance_mm=3.0),),
    following=Phase(steps=5, code_lr=0.004, shape_lr=0), points=300, resolution=32,
    detailing=Phase(steps=5, code_lr=0.03, shape_lr=0, loss="joint"),
)  # fmt: skip


def heartmend(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels/, out/ with a unified run of four hearts; not to be changed."""
    folder = tmp_path_factory.mktemp("unified")
    write_cohort(folder, count=4)
    run(Request(folder / "labels", folder / "out", device="cpu", workers=1),
        load_config("mend", folder / "small.toml"))  # fmt: skip
    return folder


def test_a_run_ends_with_a_model_and_until_fuse_without(unified: Path, tmp_path: Path) -> None:
    assert unified_model(unified / "out") == (unified / "out" / "run" / "unify" / "model.zip").resolve()
    write_cohort(tmp_path, count=3)
    run(Request(tmp_path / "labels", tmp_path / "out", device="cpu", workers=1, until="fuse"),
        load_config("mend", tmp_path / "small.toml"))  # fmt: skip
    with pytest.raises(RunError, match="not unified yet"):
        unified_model(tmp_path / "out")
    # Stage 1's shape is there to be rendered, but not on another grid.
    told = heartmend("render", tmp_path / "out", "1", "--to", tmp_path / "x.nii.gz", "--resolution", 20)
    assert told.exit_code == 0 and nib.load(tmp_path / "x.nii.gz").shape == (20, 20, 20)
    like = tmp_path / "labels" / "1.nii.gz"
    assert (
        "no --like" in heartmend("render", tmp_path / "out", "1", "--to", tmp_path / "y.nii.gz", "--like", like).stdout
    )


def test_render_from_the_file_and_from_the_run_is_one_map(unified: Path, tmp_path: Path) -> None:
    for name, model in (("a", unified / "out"), ("b", unified / "out" / "run" / "unify" / "model.zip")):
        told = heartmend("render", model, "2", "--to", tmp_path / f"{name}.nii.gz", "--resolution", 32)
        assert told.exit_code == 0, told.stdout
    a, b = (np.asarray(nib.load(tmp_path / f"{name}.nii.gz").dataobj) for name in "ab")
    assert (a == b).all() and a.dtype == np.uint8
    assert set(np.unique(a)) == {0, 2, 3, 5}


def test_render_on_the_grid_of_a_file(unified: Path, tmp_path: Path) -> None:
    for id in ("1", "3"):
        like = unified / "labels" / f"{id}.nii.gz"
        told = heartmend("render", unified / "out", id, "--to", tmp_path / "x.nii.gz", "--like", like)
        assert told.exit_code == 0, told.stdout
        image, given = nib.load(tmp_path / "x.nii.gz"), nib.load(like)
        assert image.shape == given.shape and np.allclose(image.affine, given.affine)
        fused = np.asarray(nib.load(unified / "out" / "labels" / f"{id}.nii.gz").dataobj)
        said = np.asarray(image.dataobj)
        assert 2 * ((said == 3) & (fused == 3)).sum() / ((said == 3).sum() + (fused == 3).sum()) > 0.85
    told = heartmend("render", unified / "out", "3", "--to", tmp_path / "p.nii.gz", "--probability", "LV")
    chance = np.asarray(nib.load(tmp_path / "p.nii.gz").dataobj)
    assert told.exit_code == 0 and 0 <= chance.min() < 0.01 and 0.9 < chance.max() <= 1


def test_mesh_writes_every_format(unified: Path, tmp_path: Path) -> None:
    words = ("mesh", unified / "out", "1", "--out", tmp_path, "--format", "stl,vtp,glb", "--spacing-mm", 3)
    told = heartmend(*words, "--structures", "lv,RV")
    assert told.exit_code == 0, told.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"1.glb", "1_LV.stl", "1_LV.vtp", "1_RV.stl", "1_RV.vtp"}


def test_hearts_draws_the_space(unified: Path, tmp_path: Path) -> None:
    told = heartmend("hearts", unified / "out", "--out", tmp_path, "--between", "3,4", "--modes", 1)
    assert told.exit_code == 0, told.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"modes.png", "hearts.png", "hearts.csv", "between_3_4.png"}
    lines = (tmp_path / "hearts.csv").read_text().splitlines()
    assert lines[0].startswith("case,distance_mm,reconstruction_residual_mm,unusual")
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert "two case ids" in heartmend("hearts", unified / "out", "--out", tmp_path, "--between", "3").stdout


def test_embed_mends_new_hearts_and_completes_what_they_lack(unified: Path, tmp_path: Path) -> None:
    labels = write_cohort(tmp_path, count=2)
    (labels / "3.nii.gz").write_bytes(b"no volume")
    model = unified_model(unified / "out")
    before = model.read_bytes()
    found = embed(model, labels, tmp_path / "new", settings=QUICK, workers=1, complete=True)
    assert found.mended == ("1", "2") and list(found.skipped) == ["3"]
    assert model.read_bytes() == before
    was, now = (nib.load(folder / "2.nii.gz") for folder in (labels, tmp_path / "new" / "labels"))
    assert now.header.binaryblock == was.header.binaryblock
    # The second heart came without its RA.
    assert (np.asarray(was.dataobj) == 4).sum() == 0
    assert (np.asarray(now.dataobj) == 4).sum() > 100
    told = heartmend("render", tmp_path / "new", "2", "--to", tmp_path / "x.nii.gz", "--resolution", 24)
    assert told.exit_code == 0, told.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("render", "9", "--to", "x.nii.gz"), "holds no case '9'"),
        (("render", "1", "--to", "x.nii.gz", "--probability", "spleen"), "spleen"),
        (("mesh", "1", "--out", "meshes", "--format", "obj"), "obj"),
        (("hearts", "--out", "pictures", "--between", "1,9"), "holds no case '9'"),
    ],
)
def test_errors_are_one_line(
    unified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = heartmend(words[0], unified / "out", *words[1:])
    assert told.exit_code == 1
    assert "error:" in told.stdout and says in told.stdout
    assert "Traceback" not in told.stdout


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(b"nothing")
    assert "no heart model" in heartmend("render", tmp_path / "m.zip", "1", "--to", tmp_path / "x.nii.gz").stdout
    assert heartmend("render", tmp_path / "none.zip", "1", "--to", tmp_path / "x.nii.gz").exit_code == 1
