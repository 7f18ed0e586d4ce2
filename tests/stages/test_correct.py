"""Tests of the stage correct, in runs of small hearts whose labels all have the same error."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.errors import BadInputError, ConfigError, OutputError, RunError
from heartmend.models.template import TemplateShape
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.convention import ConventionRequest, learn_convention
from heartmend.pipelines.run import Request, run
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.correction import Correction
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.correct import CorrectSettings
from support.shared_error import AFFINE, COUNT, TRUSTED, hearts, write_cohort_with_wide_lv
from support.volumes import save_nifti


def turned(labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels with x and y swapped and y reversed, with the affine of this order."""
    to_own = np.array([[0, 1, 0, 0], [-1, 0, 0, labels.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    # Index (i, j, k) of the new array is (j, n - 1 - i, k) of the old one.
    return labels[:, ::-1].transpose(1, 0, 2), affine @ to_own


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels whose LV is a voxel too wide, their CTs, and the true maps of three cases."""
    folder = write_cohort_with_wide_lv(tmp_path_factory.mktemp("cohort"))
    # The first one has its axes in another order and direction.
    stored, affine = turned(hearts(1), AFFINE)
    save_nifti(folder / "trusted" / "1.nii.gz", stored, np.uint8, affine)
    return folder


def settings(cohort: Path, images: str = "correct") -> Config:
    config = load_config("mend", cohort / "small.toml")
    return config.model_copy(update={"correct": CorrectSettings(images=images)})  # type: ignore[arg-type]


def repaired(cohort: Path, output: Path, config: Config | None = None, **request: object) -> dict[str, np.ndarray]:
    run(
        Request(cohort / "labels", output, device="cpu", workers=1, stop_after="fuse", **request),  # type: ignore[arg-type]
        config or settings(cohort),
    )
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted((output / "labels").iterdir())}


def volume_error(cohort: Path, maps: dict[str, np.ndarray], id: int, skip: int = 0) -> float:
    """Mean relative error of the volume of a structure."""
    errors = []
    for name, labels in list(maps.items())[skip:]:
        truth = np.asarray(nib.load(cohort / "truth" / name).dataobj)
        errors.append(np.count_nonzero(labels == id) / np.count_nonzero(truth == id) - 1)
    return float(np.mean(errors))


@pytest.fixture(scope="module")
def alone(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with labels alone."""
    output = tmp_path_factory.mktemp("alone") / "out"
    repaired(cohort, output)
    return output


def read_all(output: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted((output / "labels").iterdir())}


def test_labels_alone_cannot_show_a_shared_error(cohort: Path, alone: Path) -> None:
    assert RunFolder.at(alone).shared_errors() is None
    assert volume_error(cohort, read_all(alone), 3) > 0.2


def test_the_edges_of_the_cts_show_and_correct_it(cohort: Path, tmp_path: Path) -> None:
    maps = repaired(cohort, tmp_path / "out", images=cohort / "images")
    shared = RunFolder.at(tmp_path / "out").shared_errors()
    assert shared is not None and shared.source == "image" and shared.n_cases == COUNT
    by_structure = {region.structure: region for region in shared.regions}
    # The labels are a voxel of 1.5 mm too wide, and the shape of such a short fit a little more.
    assert by_structure["LV"].mean_mm == pytest.approx(1.7, abs=0.6)
    assert abs(by_structure["LV"].left_mm) < 0.4
    assert abs(by_structure["RV"].mean_mm) < 0.3
    assert abs(volume_error(cohort, maps, 3)) < 0.08 and abs(volume_error(cohort, maps, 5)) < 0.08


def test_it_is_only_reported_on_request(cohort: Path, tmp_path: Path) -> None:
    maps = repaired(cohort, tmp_path / "out", settings(cohort, "report"), images=cohort / "images")
    shared = RunFolder.at(tmp_path / "out").shared_errors()
    assert shared is not None and not shared.is_corrected
    assert RunFolder.at(tmp_path / "out").convention() is None
    assert volume_error(cohort, maps, 3) > 0.15


def test_trusted_cases_correct_the_others_and_are_kept_themselves(cohort: Path, alone: Path, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path / "out")
    maps = repaired(cohort, tmp_path / "out", trusted=cohort / "trusted")
    for path in (cohort / "trusted").iterdir():
        assert np.array_equal(maps[path.name], hearts(int(path.name[0])))
    assert abs(volume_error(cohort, maps, 3, skip=TRUSTED)) < 0.08
    log = json.loads((tmp_path / "out" / "run" / "fuse" / "1.json").read_text())
    assert [change["rule"] for change in log["changes"]] == ["trusted"]
    other = json.loads((tmp_path / "out" / "run" / "fuse" / "6.json").read_text())
    assert "LV" in [change["structure"] for change in other["changes"] if change["rule"] == "shared_errors"]
    # Without them the run is the same as before.
    again = repaired(cohort, tmp_path / "out")
    assert all(np.array_equal(labels, read_all(alone)[name]) for name, labels in again.items())


def test_a_convention_of_one_run_corrects_another(cohort: Path, alone: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(alone, tmp_path / name)
    repaired(cohort, tmp_path / "first", trusted=cohort / "trusted")
    learned = RunFolder.at(tmp_path / "first").convention_path()
    maps = repaired(cohort, tmp_path / "second", convention=learned)
    assert abs(volume_error(cohort, maps, 3, skip=TRUSTED)) < 0.08


def test_a_finished_correction_is_not_measured_again(cohort: Path, alone: Path, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path / "out")
    repaired(cohort, tmp_path / "out", trusted=cohort / "trusted")
    path = RunFolder.at(tmp_path / "out").convention_path()
    before = path.stat().st_mtime_ns
    repaired(cohort, tmp_path / "out", trusted=cohort / "trusted")
    assert path.stat().st_mtime_ns == before
    content = bytearray(path.read_bytes())
    content[-9] ^= 64
    path.write_bytes(content)
    repaired(cohort, tmp_path / "out", trusted=cohort / "trusted")
    assert path.stat().st_mtime_ns != before


def test_cases_that_cannot_be_measured_do_not_stop_the_run_and_are_no_correction(
    cohort: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(job: object) -> None:
        raise BadInputError("cannot be read")

    shutil.copytree(alone, tmp_path / "out")
    monkeypatch.setattr("heartmend.stages.correct._measure", fail)

    def corrected(**request: Path) -> None:
        run(
            Request(cohort / "labels", tmp_path / "out", device="cpu", workers=1, stop_after="correct", **request),
            settings(cohort),
        )

    corrected(images=cohort / "images")
    assert "no case could be measured" in caplog.text and "case 6 does not count" in caplog.text
    assert RunFolder.at(tmp_path / "out").shared_errors() is None
    with pytest.raises(BadInputError, match="0 of the 3 trusted cases could be measured"):
        corrected(trusted=cohort / "trusted")


def test_no_output_is_inside_an_input_folder(cohort: Path, tmp_path: Path) -> None:
    inside = cohort / "trusted" / "out"
    with pytest.raises(RunError, match="inside the input folder"):
        repaired(cohort, inside, trusted=cohort / "trusted")
    for given in ("labels", "trusted"):
        file = cohort / given / "c.safetensors"
        request = ConventionRequest(cohort / "labels", cohort / "trusted", file, device="cpu", workers=1)
        with pytest.raises(RunError, match="inside the input folder"):
            learn_convention(request, settings(cohort))
        assert not file.exists()
    request = ConventionRequest(cohort / "labels", cohort / "trusted", tmp_path, device="cpu", workers=1)
    with pytest.raises(OutputError, match="is a folder"):
        learn_convention(request, settings(cohort))
    assert not inside.exists()


def test_trusted_maps_are_checked_before_any_work(cohort: Path, tmp_path: Path) -> None:
    def refused(match: str, **request: object) -> None:
        with pytest.raises((BadInputError, ConfigError), match=match):
            repaired(cohort, tmp_path / "out", **request)
        assert not (tmp_path / "out" / "run" / "prepare").exists()

    few, strange, moved = tmp_path / "few", tmp_path / "strange", tmp_path / "moved"
    for name in ("1", "2"):
        save_nifti(few / f"{name}.nii.gz", hearts(int(name)), np.uint8, AFFINE)
    for name in ("1", "2", "77"):
        save_nifti(strange / f"{name}.nii.gz", hearts(1), np.uint8, AFFINE)
    for name in ("1", "2", "3"):
        save_nifti(moved / f"{name}.nii.gz", hearts(1)[2:], np.uint8, AFFINE)
    refused("at least 3 trusted", trusted=few)
    refused("77: the data set has no such case", trusted=strange)
    refused("is not on the grid of", trusted=moved)
    refused("give one of them", trusted=cohort / "trusted", convention=tmp_path / "c")
    refused("is no convention", convention=few / "1.nii.gz")
    other = Correction.none(("Spleen",))
    size_mm = np.full(3, 100.0)
    Convention.of(TemplateShape(("Spleen",), 8), size_mm, other, "abdomen").write(tmp_path / "other.safetensors")
    (tmp_path / "link").symlink_to(tmp_path / "other.safetensors")
    refused(r"other\.safetensors: is the convention of other structures \(Spleen\)", convention=tmp_path / "link")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused("is no convention", convention=tmp_path / "loop")


def test_a_convention_is_learned_from_two_label_sets(cohort: Path, tmp_path: Path) -> None:
    request = ConventionRequest(
        cohort / "labels", cohort / "trusted", tmp_path / "c.safetensors", device="cpu", workers=1
    )
    shared = learn_convention(request, settings(cohort))
    assert (shared.source, shared.n_cases) == ("trusted", TRUSTED)
    learned = Convention.read(tmp_path / "c.safetensors").correction
    # The labels are a voxel of 1.5 mm too wide: the surface moves inwards.
    assert learned.table_mm[..., learned.heads.index("LV")].min() < -1.0
    assert learned.largest_mm["RV"] < 0.7
