"""What the values of a label map mean: every source of names, and files that keep their own values and header."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from heartmend.anatomy.load import load_anatomy, parse_anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.io.id_presets import id_preset, id_presets
from heartmend.io.label_maps import read_ids
from heartmend.io.label_meaning import LabelTable, resolve_meaning
from heartmend.io.label_writing import as_values
from heartmend.io.nifti import read_header, write_volume
from heartmend.io.segments import write_segments
from support.volumes import save_itk, save_nifti

HEART = load_anatomy("heart")
SHAPE = (4, 5, 6)


def values_map(*values: int) -> np.ndarray:
    """A map in which each value fills some planes, and the first plane is background."""
    cube = np.zeros(SHAPE, dtype=np.uint16)
    for plane, value in enumerate(values, start=1):
        cube[:, :, plane % SHAPE[2]] = value
    return cube


def meaning_of(cohort: Cohort, id: str = "1") -> dict[int, str]:
    """Value -> name of a structure, as a case was read."""
    volume = cohort.read_labels(cohort[id])
    assert volume.meaning is not None
    return {v: HEART.by_id(volume.meaning.ids[v]).name for v in volume.value_counts if v in volume.meaning.ids}


def stored(path: Path) -> np.ndarray:
    if path.name.endswith(".nrrd"):
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
    return np.asarray(nib.load(path).dataobj)


def assert_round_trip(cohort: Cohort, folder: Path, id: str = "1") -> None:
    """A map is written back unchanged; and a voxel that becomes another structure gets the value of that structure."""
    case = cohort[id]
    volume, out = cohort.read_labels(case), folder / "out" / case.labels_path.name
    cohort.write_labels(case, volume.labels, out, volume.unknown)
    original, written = case.labels_path.read_bytes(), out.read_bytes()
    if out.name.endswith(".gz"):
        original, written = gzip.decompress(original), gzip.decompress(written)
    assert written == original
    repaired = volume.labels.copy()
    first, other = (int(i) for i in np.unique(repaired[repaired > 0])[[0, -1]])
    place = tuple(np.argwhere(repaired == first)[0])
    repaired[place] = other
    cohort.write_labels(case, repaired, out, volume.unknown)
    expected, meaning = stored(case.labels_path).copy(), volume.meaning
    assert meaning is not None
    assert int(stored(out)[place]) in meaning.values_of(other)
    expected[place] = stored(out)[place]
    assert (stored(out) == expected).all()
    assert (cohort.read_other_labels(case, out).labels == repaired).all()


def write_json(path: Path, table: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))
    return path


def test_without_any_source_the_values_are_ids_of_the_anatomy(tmp_path: Path) -> None:
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(1, 2, 3))
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART)
    volume = cohort.read_labels(cohort["1"])
    assert volume.meaning is not None and volume.meaning.has_ids and cohort["1"].tables == ()
    assert meaning_of(cohort) == {1: "Myocardium", 2: "LA", 3: "LV"}
    assert_round_trip(cohort, tmp_path)


@pytest.mark.parametrize("where", ["predictions", "predictions in a data set", "labelsTr", "labelsTs", "data set"])
def test_a_dataset_json_beside_the_maps_or_in_the_parent(tmp_path: Path, where: str) -> None:
    folder = tmp_path / {"predictions": "p", "predictions in a data set": "p", "labelsTs": "labelsTs"}.get(
        where, "labelsTr"
    )
    save_nifti(folder / "1.nii.gz", values_map(1, 2, 3))
    table = {"labels": {"background": 0, "LV": 1, "myocardium": 2, "left_atrium": 3}, "file_ending": ".nii.gz"}
    write_json((folder if where == "predictions" else tmp_path) / "dataset.json", table)
    cohort = discover_cohort(tmp_path if where == "data set" else folder, anatomy=HEART)
    assert meaning_of(cohort) == {1: "LV", 2: "Myocardium", 3: "LA"}
    assert_round_trip(cohort, tmp_path)


def test_a_dataset_json_of_nnunet_v1_or_the_decathlon(tmp_path: Path) -> None:
    save_nifti(tmp_path / "labelsTr" / "1.nii.gz", values_map(1, 2))
    write_json(tmp_path / "dataset.json", {"labels": {"0": "background", "1": "left atrium", "2": "RV"}})
    for folder in (tmp_path, tmp_path / "labelsTr"):
        cohort = discover_cohort(folder, anatomy=HEART)
        assert meaning_of(cohort) == {1: "LA", 2: "RV"}
    assert_round_trip(cohort, tmp_path)


def test_the_ignore_label_of_nnunet_stays_unchanged_with_a_warning(tmp_path: Path) -> None:
    save_nifti(tmp_path / "labelsTr" / "1.nii.gz", values_map(1, 2, 3))
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "LA": 1, "LV": 2, "ignore": 3}})
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    volume = cohort.read_labels(cohort["1"])
    assert volume.unknown is not None and int(volume.unknown.sum()) == 20
    assert any("value 3 is the label 'ignore'" in text and "20 voxels" in text for text in volume.warnings)
    assert_round_trip(cohort, tmp_path)


def test_region_labels_are_an_error_with_advice(tmp_path: Path) -> None:
    save_nifti(tmp_path / "1.nii.gz", values_map(1, 2))
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "heart": [1, 2], "LV": [2]}})
    with pytest.raises(BadInputError, match=r"'heart' is a region of ids \[1, 2\].*--ids FILE"):
        discover_cohort(tmp_path, anatomy=HEART)


def test_the_segment_names_of_a_slicer_file(tmp_path: Path) -> None:
    path = save_itk(tmp_path / "1.seg.nrrd", values_map(1, 2, 3).astype(np.uint8))
    image = sitk.ReadImage(str(path))
    for number, (value, name) in enumerate({1: "LV", 2: "Left atrium", 3: "Segment_3"}.items()):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    sitk.WriteImage(image, str(path), useCompression=True)
    with pytest.raises(BadInputError, match=r"does not have: 3 \(20 voxels\); it has 1 LV, 2 LA"):
        meaning_of(discover_cohort(tmp_path, anatomy=HEART))
    cohort = discover_cohort(tmp_path, anatomy=HEART, unknown_labels="keep")
    assert meaning_of(cohort) == {1: "LV", 2: "LA"}
    out = tmp_path / "out" / path.name
    volume = cohort.read_labels(cohort["1"])
    cohort.write_labels(
        cohort["1"], np.where(volume.labels == 3, 2, volume.labels).astype(np.uint8), out, volume.unknown
    )
    assert (stored(out) == np.where(stored(path) == 1, 2, stored(path))).all()
    assert sitk.ReadImage(str(out)).GetMetaData("Segment1_Name") == "Left atrium"


def test_a_segmentation_that_heartmend_wrote_is_read_by_its_names(tmp_path: Path) -> None:
    labels = values_map(3, 9).astype(np.uint8)
    write_segments(labels, Grid(SHAPE, np.eye(4)), HEART, tmp_path / "1.seg.nrrd")
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    assert meaning_of(cohort) == {3: "LV", 9: "Coronary"}
    assert (cohort.read_labels(cohort["1"]).labels == labels).all()


def totalsegmentator_file(path: Path, values: np.ndarray, names: dict[int, str]) -> Path:
    image = nib.Nifti1Image(values.astype(np.uint8), np.eye(4))
    labels = "\n".join(
        f'<Label Key="{value}" Red="1.0" Green="0" Blue="0.5" Alpha="1"><![CDATA[{name}]]></Label>'
        for value, name in names.items()
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <VolumeInformation Index="0">   <LabelTable>\n'
        f"{labels}\n  </LabelTable>  <VolumeType><![CDATA[Label]]></VolumeType>   </VolumeInformation></CaretExtension>"
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def test_the_label_names_of_totalsegmentator_in_the_header(tmp_path: Path) -> None:
    path = totalsegmentator_file(
        tmp_path / "1.nii.gz", values_map(1, 52, 53, 61, 62), id_preset("totalsegmentator-v2").names
    )
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    assert meaning_of(cohort) == {52: "Aorta", 53: "PV", 61: "LAA", 62: "SVC"}
    volume = cohort.read_labels(cohort["1"])
    assert volume.unknown is not None and int(volume.unknown.sum()) == 20
    assert_round_trip(cohort, tmp_path)
    assert read_header(tmp_path / "out" / "1.nii.gz").head == read_header(path).head


TABLES = {
    "1.label": '# comment\n    0     0    0    0        0  0  0    "Clear Label"\n'
    '    1   255    0    0        1  1  1    "LV"\n    2     0  255    0        1  1  1    "left atrium"\n',
    "labels.txt": '    1   255    0    0        1  1  1    "LV"\n    2     0  255    0        1  1  1    "LA"\n',
    "1.ctbl": "# Color table file\n# 3 values\n0 Background 0 0 0 0\n1 LV 255 0 0 255\n2 Left_atrium 0 255 0 255\n",
    "1_dseg.tsv": "index\tname\tabbreviation\n1\tLV\tLV\n2\tleft atrium\tLA\n",
    "dseg.tsv": "name\tindex\nBackground\t0\nLV\t1\nLA\t2\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_beside_the_maps(tmp_path: Path, name: str) -> None:
    map_name = "1_dseg.nii.gz" if name == "1_dseg.tsv" else "1.nii.gz"
    save_nifti(tmp_path / map_name, values_map(1, 2))
    (tmp_path / name).write_text(TABLES[name])
    (tmp_path / "notes.txt").write_text("Read me: 1 is nice")
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    id = cohort.cases[0].id
    assert meaning_of(cohort, id) == {1: "LV", 2: "LA"}
    assert [file.name for file in cohort.unread] == ["notes.txt"]
    assert_round_trip(cohort, tmp_path, id)


def test_a_table_with_the_stem_of_one_map_is_for_this_map_only(tmp_path: Path) -> None:
    for number in (1, 2):
        save_nifti(tmp_path / f"{number}.nii.gz", values_map(1, 2))
    (tmp_path / "2.label").write_text(TABLES["1.label"])
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    assert meaning_of(cohort, "1") == {1: "Myocardium", 2: "LA"}
    assert meaning_of(cohort, "2") == {1: "LV", 2: "LA"}


@pytest.mark.parametrize("form", ["toml", "json", "python"])
def test_a_table_of_the_user_with_ids_above_254(tmp_path: Path, form: str) -> None:
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(300, 2221, 7), np.int16)
    table = {300: "LV", 2221: "left atrium", 7: "spleen"}
    ids: Path | dict[int, str] = table
    if form == "toml":
        ids = tmp_path / "ids.toml"
        ids.write_text("".join(f'{value} = "{name}"\n' for value, name in table.items()))
    elif form == "json":
        ids = write_json(tmp_path / "ids.json", table)
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART, ids=ids)
    assert meaning_of(cohort) == {300: "LV", 2221: "LA"}
    assert_round_trip(cohort, tmp_path)


def test_a_table_of_the_user_decides_against_other_sources(tmp_path: Path) -> None:
    save_nifti(tmp_path / "1.nii.gz", values_map(1, 2))
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "LA": 1, "LV": 2}})
    assert meaning_of(discover_cohort(tmp_path, anatomy=HEART, ids={1: "RV"})) == {1: "RV", 2: "LV"}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({1: "left lung lobe"}, "no structure 'left lung lobe'"),
        ({0: "LA"}, "value 0 is always the background"),
        ({70000: "LA"}, "give a value from 0 to 65535"),
        ({"9" * 5000: "LA"}, "give a value from 0 to 65535"),
        ({"²": "LA"}, "give a value from 0 to 65535"),
        ({}, "names no value"),
    ],
)
def test_an_invalid_table_of_the_user_is_an_error(tmp_path: Path, ids: dict[int, str], message: str) -> None:
    save_nifti(tmp_path / "1.nii.gz", values_map(1, 2))
    with pytest.raises(ConfigError, match=message):
        discover_cohort(tmp_path, anatomy=HEART, ids=ids)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.toml", "x" * (1 << 19), "larger than 256 KiB"),
        ("ids.json", '{"1": "LA", "1": "LV"}', "given twice"),
        ("ids.json", "[" * 100_000, "nested"),
        ("ids.json", '{"1": "' + "x" * (1 << 23) + '"}', "larger than 8 MiB"),
        ("ids.json", '{"1": "' + "x" * 100_000 + '"}', "no structure"),
        ("ids.json", "", "is empty"),
        ("ids.toml", None, "is missing"),
    ],
)
def test_a_hostile_table_file_is_one_short_error(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    save_nifti(tmp_path / "1.nii.gz", values_map(1, 2))
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        discover_cohort(tmp_path, anatomy=HEART, ids=tmp_path / name)
    assert name in str(error.value) and len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.tsv", "index\tname\n" + "9" * 5000 + "\tLA\n"),
        ("names.label", "9" * 5000 + ' 1 1 1 1 1 1 "LA"\n'),
        ("names.ctbl", "9" * 5000 + " LA 1 1 1 255\n"),
    ],
)
def test_values_of_thousands_of_digits_beside_label_maps_are_no_values(tmp_path: Path, name: str, text: str) -> None:
    save_nifti(tmp_path / "1.nii.gz", values_map(2, 3))
    (tmp_path / name).write_text(text)
    assert meaning_of(discover_cohort(tmp_path, anatomy=HEART)) == {2: "LA", 3: "LV"}


def test_sources_that_contradict_each_other_are_an_error_with_both(tmp_path: Path) -> None:
    totalsegmentator_file(tmp_path / "1.nii.gz", values_map(1, 2), {1: "heart_atrium_left", 2: "aorta"})
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "LA": 1, "LV": 2}})
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    with pytest.raises(BadInputError, match="contradict") as error:
        cohort.read_labels(cohort["1"])
    for part in ("1.nii.gz", "names in the header", "dataset.json", "2 is 'aorta' and 'LV'", "--ids FILE"):
        assert part in str(error.value)
    assert "1 is" not in str(error.value)


PRESETS = {
    "mmwhs": ((205, 420, 421, 500, 850), {205: "Myocardium", 420: "LA", 421: "LA", 500: "LV", 850: "PA"}),
    "myops": (
        (200, 500, 600, 1220, 2221),
        {200: "Myocardium", 500: "LV", 600: "RV", 1220: "Myocardium", 2221: "Myocardium"},
    ),
    "hvsmr-2": ((1, 2, 5, 6, 7), {1: "LV", 2: "RV", 5: "Aorta", 6: "PA", 7: "SVC"}),
    "kcl-four-chamber": ((2, 8, 11, 14, 104), {2: "Myocardium", 8: "PV", 11: "PV", 14: "IVC"}),
    "imagecas": ((1,), {1: "Coronary"}),
    "coronary-arteries": ((1,), {1: "Coronary"}),
    "imagecas-x": ((1, 2, 9, 14), {1: "Coronary", 2: "Coronary", 9: "Coronary", 14: "Coronary"}),
    "mnms": ((1, 2, 3), {1: "LV", 2: "Myocardium", 3: "RV"}),
    "totalsegmentator-v2": ((1, 51, 52, 53, 61), {52: "Aorta", 53: "PV", 61: "LAA"}),
    "totalsegmentator-v1": ((1, 44, 45, 46, 7), {7: "Aorta", 44: "Myocardium", 45: "LA", 46: "LV"}),
    "heartchambers-highres": ((1, 2, 6, 7), {1: "Myocardium", 2: "LA", 6: "Aorta", 7: "PA"}),
    "public-cardiac-ct": ((1, 8, 9, 10), {1: "Myocardium", 8: "LAA", 9: "Coronary", 10: "PV"}),
}


def test_every_preset_is_tested() -> None:
    assert {preset.name for preset in id_presets()} == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_the_values_of_a_preset(tmp_path: Path, name: str) -> None:
    values, expected = PRESETS[name]
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(*values), np.int16)
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART, preset_ids=name)
    assert meaning_of(cohort) == expected
    assert_round_trip(cohort, tmp_path)


@pytest.mark.parametrize("name", ["mmwhs", "myops"])
def test_a_data_set_is_recognised_by_its_values_with_a_warning(tmp_path: Path, name: str) -> None:
    values, expected = PRESETS[name]
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(*values), np.int16)
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART)
    assert meaning_of(cohort) == expected
    assert any(f"values recognised as preset {name};" in text for text in cohort.read_labels(cohort["1"]).warnings)
    assert_round_trip(cohort, tmp_path)


def test_values_that_fit_several_data_sets_are_an_error_that_names_them(tmp_path: Path) -> None:
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(1, 9, 14))
    with pytest.raises(BadInputError, match=r"--preset-ids .*totalsegmentator-v1 or imagecas-x"):
        meaning_of(discover_cohort(tmp_path / "l", anatomy=HEART))
    with pytest.raises(ConfigError, match="no such preset; give one of public-cardiac-ct"):
        discover_cohort(tmp_path / "l", anatomy=HEART, preset_ids="liver")


@pytest.mark.parametrize("preset", ["totalsegmentator-v2", "public-cardiac-ct"])
def test_unknown_labels_that_are_kept_do_not_hide_another_data_set(tmp_path: Path, preset: str) -> None:
    """A part of TotalSegmentator's map: 1 is the spleen there, and version 1 names the others otherwise."""
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(1, 52, 53, 61))

    def warnings(**options: str) -> str:
        cohort = discover_cohort(tmp_path / "l", anatomy=HEART, unknown_labels="keep", **options)
        return " ".join(cohort.read_labels(cohort["1"]).warnings)

    with pytest.raises(BadInputError, match=r"--preset-ids totalsegmentator-v2.*If the other values are those ids"):
        meaning_of(discover_cohort(tmp_path / "l", anatomy=HEART))
    assert "(1 as Myocardium), but they fit --preset-ids totalsegmentator-v2" in warnings()
    assert "but they fit" not in warnings(preset_ids=preset)


def test_a_map_of_the_whole_body_is_recognised_as_totalsegmentator(tmp_path: Path) -> None:
    cube = np.zeros((4, 5, 10), dtype=np.uint8)
    cube.flat[:117] = np.arange(1, 118)
    save_nifti(tmp_path / "l" / "1.nii.gz", cube)
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART)
    assert meaning_of(cohort) == {52: "Aorta", 53: "PV", 61: "LAA", 62: "SVC", 63: "IVC"}
    assert_round_trip(cohort, tmp_path)


def test_without_optional_structures_the_anatomy_leaves_them_unchanged(tmp_path: Path) -> None:
    save_nifti(tmp_path / "l" / "1.nii.gz", values_map(1, 52, 62, 63))
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART.without_absent(["SVC"]), preset_ids="totalsegmentator-v2")
    volume = cohort.read_labels(cohort["1"])
    assert volume.meaning is not None
    assert volume.meaning.ids[62] == 11 and volume.meaning.kept[63] == "inferior_vena_cava"
    assert volume.unknown is not None and int(volume.unknown.sum()) == 2 * 20
    assert_round_trip(cohort, tmp_path)


def test_the_id_of_an_optional_structure_must_be_named(tmp_path: Path) -> None:
    save_nifti(tmp_path / "1.nii.gz", values_map(1, 2, 11))
    with pytest.raises(BadInputError, match=r"does not have: 11 \(20 voxels\).*must be named, such as 11 = 'SVC'"):
        meaning_of(discover_cohort(tmp_path, anatomy=HEART))
    cohort = discover_cohort(tmp_path, anatomy=HEART, ids={1: "Myocardium", 2: "LA", 11: "SVC"})
    assert meaning_of(cohort) == {1: "Myocardium", 2: "LA", 11: "SVC"}


BIG = """
name = "big"
priority = ["A", "B"]
[[structures]]
id = 850
name = "A"
colour = [1, 2, 3]
kind = "chamber"
[[structures]]
id = 3
name = "B"
colour = [4, 5, 6]
kind = "chamber"
"""


def test_the_ids_of_an_anatomy_file_can_be_up_to_65535(tmp_path: Path) -> None:
    anatomy = parse_anatomy(BIG, "big.toml")
    path = save_nifti(tmp_path / "l" / "1.nii.gz", values_map(850, 3), np.uint16)
    cohort = discover_cohort(tmp_path / "l", anatomy=anatomy)
    volume = cohort.read_labels(cohort["1"])
    assert volume.value_counts == {850: 20, 3: 20} and volume.labels.dtype == np.uint8
    a, b = (anatomy.by_name(name).id for name in "AB")
    assert (volume.labels == a).sum() == (volume.labels == b).sum() == 20
    assert_round_trip(cohort, tmp_path)
    # As new files are written: with the values of the anatomy file.
    assert (as_values(volume.labels, anatomy) == stored(path)).all()
    write_segments(volume.labels, volume.grid, anatomy, tmp_path / "1.seg.nrrd")
    assert (stored(tmp_path / "1.seg.nrrd") == stored(path)).all()
    write_volume(volume.labels, volume.grid, tmp_path / "own.nii.gz")
    assert (read_ids(tmp_path / "own.nii.gz", anatomy) == volume.labels).all()


def test_a_new_voxel_gets_the_value_of_the_nearest_voxel_of_its_structure(tmp_path: Path) -> None:
    cube = np.zeros((4, 4, 12), dtype=np.uint8)
    cube[1, 1, :5], cube[1, 1, 7:] = 2, 13
    save_nifti(tmp_path / "l" / "1.nii.gz", cube, affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART, preset_ids="imagecas-x")
    labels = cohort.read_labels(cohort["1"]).labels.copy()
    labels[1, 1, 5:7], labels[2, 1, 0], labels[1, 1, 11] = 9, 9, 0
    cohort.write_labels(cohort["1"], labels, tmp_path / "out.nii.gz")
    expected = cube.copy()
    expected[1, 1, 5], expected[1, 1, 6], expected[2, 1, 0], expected[1, 1, 11] = 2, 13, 2, 0
    assert (stored(tmp_path / "out.nii.gz") == expected).all()


def test_a_new_voxel_gets_the_value_of_the_branch_that_it_continues(tmp_path: Path) -> None:
    """Two vessels side by side, one voxel of background between them; the gap in one is next to the other."""
    cube = np.zeros((5, 5, 12), dtype=np.uint8)
    cube[1, 2], cube[3, 2] = 2, 9
    cube[3, 2, 3:8] = 0
    save_nifti(tmp_path / "l" / "1.nii.gz", cube)
    cohort = discover_cohort(tmp_path / "l", anatomy=HEART, preset_ids="imagecas-x")
    labels = cohort.read_labels(cohort["1"]).labels.copy()
    labels[3, 2, 3:8] = 9
    cohort.write_labels(cohort["1"], labels, tmp_path / "out.nii.gz")
    expected = cube.copy()
    expected[3, 2, 3:8] = 9
    assert (stored(tmp_path / "out.nii.gz") == expected).all()


def test_automatic_names_say_nothing() -> None:
    table = LabelTable("the segment names of the file", {1: "Segment_1", 2: "Label 2", 3: "3"})
    assert resolve_meaning([table], HEART, Path("1.nrrd")) is None


def test_everything_that_is_not_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "labelsTr"
    save_nifti(folder / "1.nii.gz", values_map(1, 2))
    save_nifti(folder / "4.NII.GZ", values_map(1, 2))
    for name in ("2.hdr", "2.img", "3.mhd", "plans.json", ".hidden"):
        (folder / name).touch()
    (folder / "old").mkdir()
    write_json(tmp_path / "dataset.json", {"labels": {"background": 0, "LA": 1, "LV": 2}, "file_ending": ".nii.gz"})
    cohort = discover_cohort(tmp_path, anatomy=HEART)
    unread = {file.name: file.reason for file in cohort.unread}
    assert [case.id for case in cohort] == ["1", "4"]
    assert list(unread) == ["2.hdr", "2.img", "3.mhd", "old", "plans.json"]
    assert "no header" in unread["2.img"] and "a folder" in unread["old"]
    assert unread["2.hdr"] == "its ending is not .nii.gz of dataset.json"
