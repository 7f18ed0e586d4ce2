"""Every form of a label map: read with the right structures, written back in the same form, opened by another reader.

Each form is written by an independent program, and read again by one after a repair.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.io.dataset import discover_cohort
from heartmend.io.id_presets import IdPreset, id_presets
from heartmend.io.label_maps import read_labels
from heartmend.io.label_sources import is_structure
from heartmend.io.volume import read_any_header
from support.volumes import save_nifti

nrrd = pytest.importorskip("nrrd", reason="pynrrd is an independent reader")
HEART = load_anatomy("heart")
SPACING = (0.5, 0.75, 2.0)
AFFINE = np.diag([*SPACING, 1.0])
SHAPE = (7, 6, 5)
LA, LV, LAA, MYO = 2, 3, 8, 1


def truth() -> np.ndarray:
    """Boxes of LA, LAA and LV, in the ids of the anatomy."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1:4, 1:4, 1:4], labels[4:6, 1:3, 1:3], labels[1:3, 4:6, 2:4] = LA, LAA, LV
    return labels


def repaired() -> np.ndarray:
    """The LA is larger, a voxel of the LV has become LAA, and one is gone."""
    labels = truth()
    labels[0, 0, 0], labels[1, 4, 2], labels[2, 5, 3] = LA, LAA, 0
    return labels


@dataclass(frozen=True)
class Form:
    """A form of label maps.

    Attributes:
        name: file or folder of the case.
        write: writes a label map with an independent program.
        read: reads a label map with one, as (x, y, z) in the ids of the anatomy.
    """

    name: str
    write: Callable[[Path, np.ndarray], object]
    read: Callable[[Path], np.ndarray]


def _nib_write(kind: type, dtype: object = np.uint8) -> Callable[[Path, np.ndarray], object]:
    return lambda path, labels: nib.save(kind(labels.astype(dtype), AFFINE), path)


def _nib_read(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def _sitk_image(labels: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(labels.T)
    image.SetSpacing(SPACING)
    image.SetOrigin((10.0, -20.0, 30.5))
    return image


def _sitk_write(compressed: bool) -> Callable[[Path, np.ndarray], object]:
    def write(path: Path, labels: np.ndarray) -> None:
        # SimpleITK knows endings in lower case only. The name of a file of voxels is stored in the header.
        lower = path.with_name(path.name.lower())
        sitk.WriteImage(_sitk_image(labels), str(lower), useCompression=compressed)
        lower.rename(path)

    return write


def _sitk_read(path: Path) -> np.ndarray:
    readable = path.with_name(path.name.lower())
    if readable != path:
        shutil.copyfile(path, readable)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(readable))).T


def _nrrd_write(**header: object) -> Callable[[Path, np.ndarray], object]:
    fields = {"space": "left-posterior-superior", "space directions": np.diag(SPACING), "space origin": [0, 0, 0]}
    return lambda path, labels: nrrd.write(str(path), labels, fields | header)


def _nrrd_read(path: Path) -> np.ndarray:
    return nrrd.read(str(path))[0]


NAMES = {LA: "heart_atrium_left", LV: "heart_ventricle_left", LAA: "atrial_appendage_left"}


def _write_masks(folder: str, ending: str = ".nii.gz") -> Callable[[Path, np.ndarray], object]:
    def write(path: Path, labels: np.ndarray) -> None:
        (path / folder).mkdir(parents=True)
        for id, name in NAMES.items():
            save_nifti(path / folder / f"{name}{ending}", labels == id, affine=AFFINE)
        spleen = np.zeros(SHAPE, np.uint8)
        spleen[6, 5, 4] = 1
        save_nifti(path / folder / f"spleen{ending}", spleen, affine=AFFINE)

    return write


def _read_masks(path: Path) -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    found = {file.name.split(".")[0]: np.asarray(nib.load(file).dataobj) for file in path.rglob("*.nii*")}
    assert found.keys() == {*NAMES.values(), "spleen"} and found["spleen"].sum() == 1
    for id, name in NAMES.items():
        assert not labels[found[name] == 1].any()
        labels[found[name] == 1] = id
    return labels


def _write_in_folder(name: str) -> Callable[[Path, np.ndarray], object]:
    def write(path: Path, labels: np.ndarray) -> None:
        (path / name).parent.mkdir(parents=True)
        save_nifti(path / name, labels, affine=AFFINE)
        save_nifti(path / "ct.nii.gz", labels.astype(np.int16) - 100, np.int16, AFFINE)

    return write


def _write_layers(axis: int) -> Callable[[Path, np.ndarray], object]:
    """As 3D Slicer writes overlapping segments: LA and LV in the first layer as 1 and 2, the LAA in the second as 1."""

    def write(path: Path, labels: np.ndarray) -> None:
        layers = [np.where(labels == LA, 1, np.where(labels == LV, 2, 0)), labels == LAA]
        directions: list[list[float]] = np.diag(SPACING).tolist()
        directions.insert(axis, [np.nan] * 3)
        kinds = ["domain"] * 3
        kinds.insert(axis, "list")
        header = {"kinds": kinds, "space": "left-posterior-superior", "space directions": np.array(directions),
                  "space origin": [0, 0, 0], "encoding": "gzip"}  # fmt: skip
        for number, (name, value, layer) in enumerate([("Left atrium", 1, 0), ("Left ventricle", 2, 0), ("LAA", 1, 1)]):
            header |= {f"Segment{number}_Name": name, f"Segment{number}_LabelValue": str(value),
                       f"Segment{number}_Layer": str(layer), f"Segment{number}_Extent": "1 6 1 6 1 4"}  # fmt: skip
        nrrd.write(str(path), np.stack(layers, axis=axis).astype(np.uint8), header)

    return write


def _read_layers(axis: int) -> Callable[[Path], np.ndarray]:
    def read(path: Path) -> np.ndarray:
        stored, header = nrrd.read(str(path))
        first, second = np.moveaxis(stored, axis, 0)
        assert (first <= 2).all() and (second <= 1).all() and header["Segment2_Name"] == "LAA"
        labels = np.where(first == 1, LA, np.where(first == 2, LV, 0))
        assert not labels[second == 1].any()
        labels[second == 1] = LAA
        return labels

    return read


FORMS = [
    Form("1.nii.gz", _nib_write(nib.Nifti1Image), _nib_read),
    Form("1.nii", _nib_write(nib.Nifti2Image, np.int16), _nib_read),
    Form("1.NII.GZ", lambda path, labels: save_nifti(path, labels, affine=AFFINE), _nib_read),
    Form("1.hdr", _nib_write(nib.Nifti1Pair), _nib_read),
    Form("2.hdr", _nib_write(nib.AnalyzeImage), _nib_read),
    Form("1.mgz", _nib_write(nib.MGHImage), _nib_read),
    Form("1.mgh", _nib_write(nib.MGHImage, np.int32), _nib_read),
    Form("1.mha", _sitk_write(True), _sitk_read),
    Form("2.mha", _sitk_write(False), _sitk_read),
    Form("x.MHA", _sitk_write(True), _sitk_read),
    Form("1.mhd", _sitk_write(False), _sitk_read),
    Form("2.mhd", _sitk_write(True), _sitk_read),
    Form("1.nrrd", _sitk_write(True), _sitk_read),
    Form("2.NRRD", _sitk_write(False), _sitk_read),
    Form("3.nrrd", _nrrd_write(encoding="bzip2"), _nrrd_read),
    Form("4.nrrd", _nrrd_write(encoding="ascii"), _nrrd_read),
    Form("1.nhdr", _sitk_write(False), _sitk_read),
    Form("2.nhdr", _sitk_write(True), _sitk_read),
    Form("1.gipl", _sitk_write(False), _sitk_read),
    Form("1.gipl.gz", _sitk_write(True), _sitk_read),
    Form("1.seg.nrrd", _write_layers(0), _read_layers(0)),
    Form("2.seg.nrrd", _write_layers(3), _read_layers(3)),
    Form("s0001", _write_masks("segmentations"), _read_masks),
    Form("s0002", _write_masks(""), _read_masks),
    Form("s0003", _write_masks("masks", ".nii"), _read_masks),
    Form("s0004", _write_in_folder("seg.nii.gz"), lambda path: _nib_read(path / "seg.nii.gz")),
    Form("s0005", _write_in_folder("anat/s0005_dseg.nii.gz"), lambda path: _nib_read(path / "anat/s0005_dseg.nii.gz")),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_label_map_is_read_and_comes_back_in_its_own_form(tmp_path: Path, form: Form) -> None:
    labels_dir, out = tmp_path / "labels", tmp_path / "out" / form.name
    labels_dir.mkdir()
    form.write(labels_dir / form.name, truth())
    cohort = discover_cohort(labels_dir, anatomy=HEART)
    (case,) = cohort
    volume = cohort.read_labels(case)
    assert np.array_equal(volume.labels, truth())
    assert np.allclose(volume.grid.spacing_mm, SPACING)
    cohort.check_writable(volume)

    before = {path: path.read_bytes() for path in labels_dir.rglob("*") if path.is_file()}
    cohort.write_labels(case, repaired(), out)
    assert np.array_equal(form.read(out), repaired())
    again = cohort.read_other_labels(case, out)
    assert np.array_equal(again.labels, repaired()) and again.grid.is_close(volume.grid)
    assert {path: path.read_bytes() for path in labels_dir.rglob("*") if path.is_file()} == before
    written = {path.relative_to(out.parent) for path in out.parent.rglob("*") if path.is_file()}
    expected = {path.relative_to(labels_dir) for path in before if path.name != "ct.nii.gz"}
    assert {path for path in written if path.name.lower() != form.name.lower() or path.name == form.name} == expected


@pytest.mark.parametrize("form", [form for form in FORMS if "." in form.name], ids=lambda form: form.name)
def test_the_header_keeps_its_bytes(tmp_path: Path, form: Form) -> None:
    path, out = tmp_path / form.name, tmp_path / "out" / form.name
    form.write(path, truth())
    volume = read_labels(path, HEART)
    discovered = discover_cohort(tmp_path, anatomy=HEART)
    discovered.write_labels(discovered.cases[0], volume.labels, out)
    one, other = read_any_header(path), read_any_header(out)
    # The compressed size is a field of MetaImage.
    differing = [
        pair for pair in zip(one.head.splitlines(), other.head.splitlines(), strict=True) if len(set(pair)) > 1
    ]
    assert all(a.startswith(b"CompressedDataSize") for a, _ in differing)
    assert (one.tail, one.data_head, one.data_name) == (other.tail, other.data_head, other.data_name)


@pytest.mark.parametrize("preset", id_presets(), ids=lambda preset: preset.name)
def test_the_values_of_every_preset_come_back(tmp_path: Path, preset: IdPreset) -> None:
    """Of each structure one voxel is removed, and one of another organ or the background stays."""
    values = [*preset.structures, *list(preset.others)[:3]]
    stored = np.zeros((len(values), 3, 2), dtype=np.uint16)
    stored[:, :2, :] = np.array(values)[:, None, None]
    save_nifti(tmp_path / "in" / "1.nii.gz", stored, np.uint16, AFFINE)
    cohort = discover_cohort(tmp_path / "in", anatomy=HEART, preset_ids=preset.name)
    volume = cohort.read_labels(cohort["1"])
    for number, value in enumerate(values):
        name = preset.names[value]
        is_one = is_structure(name, HEART)
        assert (volume.labels[number, :2] == (HEART.by_name(name).id if is_one else 0)).all()
    labels = volume.labels.copy()
    labels[:, 0, 0] = 0
    cohort.write_labels(cohort["1"], labels, tmp_path / "out.nii.gz", volume.unknown)
    expected = stored.copy()
    expected[[is_structure(preset.names[value], HEART) for value in values], 0, 0] = 0
    assert np.array_equal(_nib_read(tmp_path / "out.nii.gz"), expected)
    assert nib.load(tmp_path / "out.nii.gz").header == nib.load(tmp_path / "in" / "1.nii.gz").header


def test_overlapping_masks_are_resolved_by_the_priority_and_told(tmp_path: Path) -> None:
    """The appendage of TotalSegmentator is a part of its atrium."""
    case = tmp_path / "s1"
    atrium, appendage = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    atrium[1:5, 1:5, 1:4], appendage[4:6, 1:5, 1:4] = 255, 255
    save_nifti(case / "segmentations" / "heart_atrium_left.nii.gz", atrium, affine=AFFINE)
    save_nifti(case / "segmentations" / "atrial_appendage_left.nii.gz", appendage, affine=AFFINE)
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    volume = cohort.read_labels(cohort["s1"])
    assert np.array_equal(volume.labels, np.where(appendage, LAA, np.where(atrium, LA, 0)))
    assert any("12 voxels are in the masks of LAA and LA" in text for text in volume.warnings)
    cohort.write_labels(cohort["s1"], volume.labels, tmp_path / "out" / "s1")
    written = _nib_read(tmp_path / "out" / "s1" / "segmentations" / "heart_atrium_left.nii.gz")
    assert np.array_equal(written, np.where(volume.labels == LA, 255, 0))


def test_several_masks_of_one_structure_are_repaired_as_one(tmp_path: Path) -> None:
    """A voxel that is added belongs to the nearest of them."""
    masks = {"pulmonary_vein": np.zeros(SHAPE, np.uint8), "PV": np.zeros(SHAPE, np.uint8)}
    masks["pulmonary_vein"][0, :2, 0], masks["PV"][5, :2, 0] = 1, 1
    for name, mask in masks.items():
        save_nifti(tmp_path / "1" / f"{name}.nii.gz", mask, affine=AFFINE)
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    labels = cohort.read_labels(cohort["1"]).labels
    assert np.array_equal(labels == 10, (masks["PV"] + masks["pulmonary_vein"]).astype(bool))
    labels = labels.copy()
    labels[1, 0, 0] = labels[4, 0, 0] = 10
    cohort.write_labels(cohort["1"], labels, tmp_path / "out" / "1")
    assert np.argwhere(_nib_read(tmp_path / "out/1/PV.nii.gz")).tolist() == [[4, 0, 0], [5, 0, 0], [5, 1, 0]]


def test_a_folder_of_masks_can_be_given_itself(tmp_path: Path) -> None:
    """TotalSegmentator #235: no mask is a case."""
    _write_masks("segmentations")(tmp_path / "s7", truth())
    for folder in (tmp_path / "s7" / "segmentations", tmp_path / "s7", tmp_path):
        cohort = discover_cohort(folder, anatomy=HEART)
        assert [case.id for case in cohort] == ["s7"]
        assert np.array_equal(cohort.read_labels(cohort["s7"]).labels, truth())


def test_the_image_in_the_folder_of_a_case_is_used(tmp_path: Path) -> None:
    _write_in_folder("segmentation.nii.gz")(tmp_path / "s1", truth())
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    assert cohort["s1"].image_path == tmp_path / "s1" / "ct.nii.gz"


def test_a_mask_with_two_values_and_one_on_another_grid_are_errors(tmp_path: Path) -> None:
    _write_masks("")(tmp_path / "1", truth())
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    save_nifti(tmp_path / "1" / "heart_atrium_left.nii.gz", truth(), affine=AFFINE)
    with pytest.raises(BadInputError, match=r"heart_atrium_left\.nii\.gz: not a mask: it has the values 2, 3, 8"):
        cohort.read_labels(cohort["1"])
    save_nifti(tmp_path / "1" / "heart_atrium_left.nii.gz", truth() == LA, affine=np.diag([1, 1, 1, 1.0]))
    with pytest.raises(BadInputError, match=r"heart_atrium_left\.nii\.gz: is not on the grid of"):
        cohort.read_labels(cohort["1"])


def test_folders_that_are_no_cases_are_listed_with_the_reason(tmp_path: Path) -> None:
    _write_masks("segmentations")(tmp_path / "s1", truth())
    for number in (1, 2):
        save_nifti(tmp_path / "old" / f"00{number}.nii.gz", truth(), affine=AFFINE)
    (tmp_path / "empty").mkdir()
    (tmp_path / "meta.csv").write_text("id")
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    unread = {file.name: file.reason for file in cohort.unread}
    assert [case.id for case in cohort] == ["s1"]
    assert "none of which has the name of a structure" in unread["old"]
    assert "contains no label map" in unread["empty"] and "no label map" in unread["meta.csv"]
    assert unread["segmentations/spleen.nii.gz"] == "no structure of anatomy heart, in 1 case; copied unchanged"


def test_two_headers_with_the_same_file_of_voxels_are_skipped(tmp_path: Path) -> None:
    """Their results would replace each other."""
    _sitk_write(False)(tmp_path / "1.mhd", truth())
    text = (tmp_path / "1.mhd").read_text()
    (tmp_path / "2.mhd").write_text(text)
    save_nifti(tmp_path / "3.nii.gz", truth(), affine=AFFINE)
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    assert [case.id for case in cohort] == ["3"]
    assert all("1.mhd and 2.mhd name the same file" in cohort.skipped[id] for id in ("1", "2"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.raw", "another folder"), ("/etc/passwd", "another folder"), ("link.raw", "is a link"),
        ("nowhere.raw", "is missing"), ("other.nii.gz", "no file of voxels"), ("LIST", "several files"),
        ("slice%03d.raw", "several files"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_a_file_of_voxels_is_in_the_same_folder_and_no_link(
    tmp_path: Path, ending: str, name: str, message: str
) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    path = folder / f"1{ending}"
    _sitk_write(False)(path, truth())
    shutil.copyfile(folder / "1.raw", tmp_path / "secret.raw")
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    save_nifti(folder / "other.nii.gz", truth())
    path.write_text(path.read_text().replace("1.raw", name))
    with pytest.raises(BadInputError, match=message):
        read_labels(path, HEART)


def test_a_link_in_the_place_of_a_mask_copies_no_other_file(tmp_path: Path) -> None:
    _write_masks("")(tmp_path / "in" / "1", truth())
    secret = tmp_path / "secret"
    secret.write_text("secret")
    spleen = tmp_path / "in" / "1" / "spleen.nii.gz"
    spleen.unlink()
    spleen.symlink_to(secret)
    cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
    with pytest.raises(BadInputError, match=r"spleen\.nii\.gz"):
        cohort.write_labels(cohort["1"], repaired(), tmp_path / "out" / "1")
    assert not (tmp_path / "out" / "1").exists()


@pytest.mark.parametrize("form", [form for form in FORMS if "." in form.name], ids=lambda form: form.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_damage_is_read_or_is_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, form: Form, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    form.write(folder / form.name, truth())
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    raw = bytearray(path.read_bytes())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=5)):
        raw[at % len(raw)] = value
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    message = str(folder)
    try:
        cohort = discover_cohort(folder, anatomy=HEART, unknown_labels="keep")
        volume = cohort.read_labels(cohort.cases[0])
        cohort.check_writable(volume)
        cohort.write_labels(cohort.cases[0], volume.labels, folder / "out" / form.name, volume.unknown)
    except BadInputError as error:
        message = str(error)
    else:
        again = cohort.read_other_labels(cohort.cases[0], folder / "out" / form.name)
        assert np.array_equal(again.labels, volume.labels)
    assert str(folder) in message
