"""Attacks on the forms of label maps: masks per structure, layers of 3D Slicer, DICOM segmentations and structure sets.

A bad case is checked beside a good one. Where it is accepted, it is changed, written and read again: what comes back
must be what was written.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attacks.bad_files import HUGE, MODULES, SECRET, check, mutate, problem_of
from attacks.commands import preload, run_function
from attacks.lab import Lab, Outcome, in_child

COUNT = 360
SHAPE = (16, 14, 6)
SEGMENTS = {"LV": 3, "Myocardium": 1, "LA": 2}
NUMBERS: tuple[Any, ...] = (0, 1, 2, 7, 255, 65535, -1, 2**31 - 1, 1e308, 1e-308, float("nan"), float("inf"))
TEXTS = ("", "x", "LV", "\u0000", "../../x", "x" * 5000, "<b>", "=1+1", "\\".join("1" * 50), HUGE, "nan", "1e400")


@dataclass(frozen=True)
class Seeds:
    """Folders of valid cases.

    Attributes:
        folder: its folders `masks`, `slicer`, `seg`, `alone`, and `contours` each contain one case.
        reason: why there are no DICOM files.
    """

    folder: Path
    reason: str = ""


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), len(FORMS))


@contextmanager
def opened(lab: Lab) -> Iterator[Seeds]:
    """Provide the valid cases."""
    preload(*MODULES)
    with lab.scratch() as folder:
        (folder / "secret").write_text(SECRET * 500)
        in_child(lambda: _write_files(folder))
        reason = _missing()
        if not reason:
            in_child(lambda: _write_dicom(folder))
        yield Seeds(folder, reason)


def attack(lab: Lab, seeds: Seeds, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Make one bad case and check it as a run would read it."""
    name, needs_dicom, make = FORMS[job % len(FORMS)]
    if needs_dicom and seeds.reason:
        yield Outcome(name, skipped=seeds.reason)
        return
    with lab.scratch() as folder:
        labels = folder / "labels"
        labels.mkdir()
        must_refuse = make(seeds, labels, rng, job // len(FORMS))
        ended = check(folder)
        problem = problem_of((ended, "bad", must_refuse))
        if not problem and ended.status == 0:
            ended = run_function(lambda: _write_again(labels, folder / "again"), folder / "again.txt", 60)
            problem = problem_of((ended, "bad", False))
        yield Outcome.of(f"{name}: {job // len(FORMS)}", ended, problem)


def _write_again(labels: Path, again: Path) -> None:
    """Take a part of each structure away, write the map, and read it again."""
    import numpy as np

    from heartmend.anatomy.load import load_anatomy
    from heartmend.io.dataset import discover_cohort

    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    for case in cohort:
        volume = cohort.read_labels(case)
        cohort.check_writable(volume)
        changed = volume.labels.copy()
        changed[: changed.shape[0] // 2, ::2] = 0
        target = again / case.labels_path.name
        cohort.write_labels(case, changed, target, volume.unknown)
        found = _written(cohort, case, target)
        if not np.array_equal(found, changed):
            raise AssertionError(f"case {case.id}: {np.count_nonzero(found != changed)} voxels are not as written")


def _written(cohort: Any, case: Any, path: Path) -> Any:
    """Labels of a file that was written; a map without any structure, which cannot be read, has none."""
    import numpy as np

    from heartmend.errors import BadInputError

    series = case.labels_path if case.labels_path.is_dir() else case.series_path
    try:
        return cohort.read_other_labels(replace(case, series_path=series), path).labels
    except BadInputError as error:
        if "has no voxel of" not in str(error):
            raise
        return np.zeros(cohort.read_labels(case).labels.shape, np.uint8)


def _missing() -> str:
    from importlib.util import find_spec

    missing = [name for name in ("pydicom", "highdicom") if find_spec(name) is None]
    return f"{missing[0]} is not installed: pip install '.[dicom]'" if missing else ""


def _values() -> Any:
    import numpy as np

    values = np.zeros(SHAPE, np.uint8)
    values[2:8, 2:10, 1:5], values[8:12, 2:10, 1:5], values[2:8, 10:12, 1:5] = 3, 1, 2
    return values


def _write_files(folder: Path) -> None:
    import nibabel as nib
    import numpy as np
    import SimpleITK as sitk

    values, affine = _values(), np.diag([-1.0, -1.0, 2.0, 1.0])
    (folder / "masks" / "bad" / "segmentations").mkdir(parents=True)
    names = {"heart_ventricle_left": 3, "heart_myocardium": 1, "heart_atrium_left": 2, "spleen": 9}
    for name, value in names.items():
        mask = nib.Nifti1Image((values == value).astype(np.uint8), affine)
        nib.save(mask, folder / "masks" / "bad" / "segmentations" / f"{name}.nii.gz")
    layers = np.stack([values == 3, (values == 1) + 2 * (values == 2)], axis=-1).astype(np.uint8)
    image = sitk.GetImageFromArray(layers.transpose(2, 1, 0, 3), isVector=True)
    for number, (name, layer, value) in enumerate((("LV", 0, 1), ("Myocardium", 1, 1), ("LA", 1, 2))):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_Layer", str(layer))
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Extent", "0 15 0 13 0 5")
    (folder / "slicer").mkdir()
    sitk.WriteImage(image, str(folder / "slicer" / "bad.seg.nrrd"), False)


def _write_dicom(folder: Path) -> None:
    from heartmend.io.dicom.create import NewSegment, create_segmentation, create_structure_set
    from heartmend.io.dicom.series import find_series

    values = _values()
    for name in ("seg", "contours"):
        case = folder / name / "bad"
        _write_series(case)
        series = find_series(case)
        if series is None:
            raise SystemExit(f"{case}: the series that was written is not found")
        segments = [NewSegment(s, None, (200, 30, 30), values == id) for s, id in SEGMENTS.items()]
        create = create_segmentation if name == "seg" else create_structure_set
        create(case / "labels.dcm", series, segments)
    (folder / "alone").mkdir()
    shutil.copy(folder / "seg" / "bad" / "labels.dcm", folder / "alone" / "bad.dcm")


def _write_series(folder: Path) -> None:
    """Write a CT as one file for each slice."""
    import pydicom

    folder.mkdir(parents=True)
    for number in range(SHAPE[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
        dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", SECRET, "7"
        for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
            setattr(dataset, empty, "")
        dataset.ReferringPhysicianName = dataset.Manufacturer = ""
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.SliceThickness = 1, number + 1, 2.0
        dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        dataset.ImagePositionPatient, dataset.PixelSpacing = [0.0, 0.0, 2.0 * number], [1.0, 1.0]
        dataset.Columns, dataset.Rows = SHAPE[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.PixelData = bytes(2 * SHAPE[0] * SHAPE[1])
        dataset.save_as(folder / f"IM{number:03d}", enforce_file_format=True)


Make = Callable[[Seeds, Path, random.Random, int], bool]
"""Writes one bad case, and returns whether it must be refused."""


def _masks(seeds: Seeds, labels: Path, rng: random.Random, turn: int) -> bool:
    """Masks of which one is damaged, no file, no mask, or has a hostile name."""
    shutil.copytree(seeds.folder / "masks", labels, dirs_exist_ok=True)
    folder = labels / "bad" / "segmentations"
    path = folder / f"{rng.choice(('heart_ventricle_left', 'heart_myocardium', 'spleen'))}.nii.gz"
    match turn % 15:
        case 0 | 1 | 2:
            path.write_bytes(gzip.compress(mutate(gzip.decompress(path.read_bytes()), rng), 1))
        case 3:
            path.write_bytes(mutate(path.read_bytes(), rng))
        case 4:
            path.unlink()
            os.mkfifo(path)
        case 5:
            path.unlink()
            path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", "/proc/self/mem", str(seeds.folder / "secret"))))
        case 6:
            path.unlink()
            path.mkdir()
        case 7:
            shutil.rmtree(folder)
            folder.symlink_to(labels / "bad", target_is_directory=True)
        case 8:
            for n in range(400):
                shutil.copy(path, folder / f"organ_{n}.nii.gz")
        case 9 | 10:
            _write_other_mask(path, rng, is_small=turn % 15 == 10)
        case 11:
            for name in (b"a\nb", b"\xff\xfe", b"LV", b"left ventricle", b"<b>", b"=1+1", b"\x1b[31m"):
                shutil.copy(os.fsencode(path), os.fsencode(folder) + b"/" + name + b".nii.gz")
        case 12:
            shutil.copytree(folder, folder / "segmentations")
            shutil.copytree(folder, labels / "bad" / "more")
        case 13:
            # Everything on this machine.
            shutil.rmtree(labels / "bad")
            (labels / "bad").symlink_to(rng.choice(("/", "/proc", "/dev", "/sys")), target_is_directory=True)
        case _:
            for one in folder.iterdir():
                one.write_bytes(b"")
    return turn % 15 in (7, 13, 14)


def _write_other_mask(path: Path, rng: random.Random, *, is_small: bool) -> None:
    """A mask on another grid, or one with several values."""
    import nibabel as nib
    import numpy as np

    values = np.ones((3, 3, 3), np.uint8) if is_small else _values().astype(np.int16) * rng.choice((1, 100))
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)


def _layers(seeds: Seeds, labels: Path, rng: random.Random, turn: int) -> bool:
    """A .seg.nrrd with several layers: wrong segments, or damaged bytes."""
    text = (seeds.folder / "slicer" / "bad.seg.nrrd").read_bytes()
    many = b"".join(b"Segment%d_Name:=LV\nSegment%d_LabelValue:=1\n" % (n, n) for n in range(9, 20_000))
    changes: tuple[tuple[bytes, bytes], ...] = (
        (b"Segment1_Layer:=1", b"Segment1_Layer:=" + HUGE.encode()), (b"Segment1_Layer:=1", b"Segment1_Layer:=2"),
        (b"Segment1_LabelValue:=1", b"Segment1_LabelValue:=" + HUGE.encode()),
        (b"Segment1_LabelValue:=1", b"Segment1_LabelValue:=999999999"),
        (b"Segment1_LabelValue:=1", b"Segment1_LabelValue:=0"), (b"Segment1_", b"Segment0_"),
        (b"Segment1_", b"Segment" + HUGE.encode() + b"_"), (b"Segment2_Name:=LA", b"Segment2_Name:=LV"),
        (b"Segment0_Extent:=0 15 0 13 0 5", b"Segment0_Extent:=" + b"9" * 100_000),
        (b"Segment0_Extent:=0 15", b"Segment0_Extent:=-9 -15"), (b"sizes: 2 16 14 6", b"sizes: 16 16 14 6"),
        (b"sizes: 2 16 14 6", b"sizes: 2000000 16 14 6"), (b"kinds: vector", b"kinds: domain"),
        (b"kinds: vector domain domain domain", b"kinds: domain domain domain vector"),
        (b"Segment0_Name:=LV", many + b"Segment0_Name:=LV"),
    )  # fmt: skip
    data = text.replace(*changes[turn]) if turn < len(changes) else mutate(text, rng, header_bytes=1500)
    (labels / "bad.seg.nrrd").write_bytes(data)
    return turn in (1, 11)


def _dicom_bytes(name: str) -> Make:
    """A DICOM file with some wrong bytes."""

    def make(seeds: Seeds, labels: Path, rng: random.Random, turn: int) -> bool:
        path = _case(seeds, labels, name, rng if turn % 3 == 2 else None)
        path.write_bytes(mutate(path.read_bytes(), rng, header_bytes=6000))
        return False

    return make


def _dicom_values(name: str) -> Make:
    """A DICOM file in which some elements have other values, are missing, or are there many times."""

    def make(seeds: Seeds, labels: Path, rng: random.Random, turn: int) -> bool:
        import pydicom

        path = _case(seeds, labels, name, rng if turn % 4 == 3 else None)
        original = path.read_bytes()
        for _ in range(20):
            dataset = pydicom.dcmread(io.BytesIO(original))
            for _ in range(rng.choice((1, 1, 1, 3))):
                _change(*rng.choice(list(_elements(dataset))), rng)
            buffer = io.BytesIO()
            try:
                dataset.save_as(buffer)
            except Exception:  # noqa: BLE001  (not every value can be encoded; then another one is taken)
                continue
            path.write_bytes(buffer.getvalue())
            break
        return False

    return make


def _case(seeds: Seeds, labels: Path, name: str, of_series: random.Random | None) -> Path:
    """Copy a case; returns its label map, or one of its slices."""
    shutil.copytree(seeds.folder / name, labels, dirs_exist_ok=True)
    if name == "alone":
        return labels / "bad.dcm"
    return labels / "bad" / (f"IM{of_series.randrange(SHAPE[2]):03d}" if of_series else "labels.dcm")


def _elements(dataset: Any) -> Iterator[tuple[Any, Any]]:
    """Every element with the data set that contains it; of long sequences those of three items."""
    for element in dataset:
        yield dataset, element
        if element.VR == "SQ":
            for item in list(element.value)[:3]:
                yield from _elements(item)


def _change(owner: Any, element: Any, rng: random.Random) -> None:
    if element.tag not in owner:
        return
    choice = rng.random()
    if choice < 0.15:
        del owner[element.tag]
    elif element.VR == "SQ":
        items = list(element.value)
        element.value = rng.choice(([], items[:1], items[1:], items * 2, items * 300))
    elif element.VR in ("OB", "OW", "UN"):
        element.value = rng.choice((b"", element.value[:-2], element.value * 2, bytes(element.value)[::-1]))
    elif choice < 0.25:
        first = element.value[0] if element.VM > 1 else element.value
        element.value = [first] * rng.choice((2, 3, 5000))
    else:
        values = NUMBERS if element.VR in ("US", "SS", "UL", "SL", "FL", "FD", "DS", "IS", "AT") else TEXTS
        # Without pydicom's check of the value.
        element._value = rng.choice(values if choice < 0.8 else TEXTS)


def _dicom_special(seeds: Seeds, labels: Path, rng: random.Random, turn: int) -> bool:
    """DICOM files that are bombs, lead to other files, or describe more than they contain."""
    name, form, damage = SPECIAL[turn % len(SPECIAL)]
    path = _case(seeds, labels, form, None)
    damage(path, seeds, rng)
    return name in MUST_REFUSE


def _deflated(path: Path, seeds: Seeds, rng: random.Random) -> None:
    """A file whose elements are compressed, and become a gigabyte or more."""
    import pydicom

    block, times = rng.choice(((bytes(1 << 20), 1500), (b"\x09\x00\x01\x00UN\0\0\0\0\0\0" * 80_000, 1500)))
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    head = pydicom.filebase.DicomBytesIO()
    head.is_little_endian, head.is_implicit_VR = True, False
    head.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(head, dataset.file_meta)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(head.getvalue() + packed * times + packer.flush())


def _nested(path: Path, seeds: Seeds, rng: random.Random) -> None:
    level = b"\x71\x00\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    _append(path, level * rng.choice((100, 3000, 100_000)))


def _long_element(path: Path, seeds: Seeds, rng: random.Random) -> None:
    length = rng.choice((b"\xfe\xff\xff\xff", b"\xff\xff\xff\x7f"))
    _append(path, b"\x71\x00\x10\x10OB\0\0" + length + b"x" * 100)


def _many_items(path: Path, seeds: Seeds, rng: random.Random) -> None:
    _append(path, b"\x71\x00\x10\x10SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 20_000)


def _fifo(path: Path, seeds: Seeds, rng: random.Random) -> None:
    os.mkfifo(path.with_name("other"))


def _links(path: Path, seeds: Seeds, rng: random.Random) -> None:
    target = rng.choice(("/dev/zero", "/etc/passwd", str(seeds.folder / "secret"), "/proc"))
    path.with_name("other").symlink_to(target)


def _two_maps(path: Path, seeds: Seeds, rng: random.Random) -> None:
    shutil.copy(path, path.with_name("labels2.dcm"))


def _frames(path: Path, seeds: Seeds, rng: random.Random) -> None:
    _save(path, NumberOfFrames=rng.choice((10**6, 2**31 - 1, 0, -1)))


def _compressed(path: Path, seeds: Seeds, rng: random.Random) -> None:
    """Pixels in a compression with a few bytes of data, for a million frames or very large ones."""
    import pydicom

    dataset = pydicom.dcmread(path)
    syntax = rng.choice((pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless))
    dataset.file_meta.TransferSyntaxUID = syntax
    if rng.random() < 0.5:
        dataset.NumberOfFrames = 10**6
    if rng.random() < 0.5:
        dataset.Rows = dataset.Columns = 40_000
    dataset.PixelData = pydicom.encaps.encapsulate([rng.randbytes(200)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


def _size(path: Path, seeds: Seeds, rng: random.Random) -> None:
    side = rng.choice((65535, 40_000, 0))
    _save(path, Rows=side, Columns=side)


def _steps(path: Path, seeds: Seeds, rng: random.Random) -> None:
    """Frames that are very far apart, or slices that are very thin."""
    import pydicom

    dataset = pydicom.dcmread(path)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = measures.SliceThickness = rng.choice((0.001, 0.005, 1e-9, 1e9))
    far = rng.choice((1, 100))
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [*place.ImagePositionPatient[:2], place.ImagePositionPatient[2] * far]
    dataset.save_as(path)


def _same_segments(path: Path, seeds: Seeds, rng: random.Random) -> None:
    import pydicom

    dataset, number = pydicom.dcmread(path), rng.choice((0, 65535, 1))
    for segment in dataset.SegmentSequence[:2]:
        segment.SegmentNumber = number
    dataset.save_as(path)


def _contours(path: Path, seeds: Seeds, rng: random.Random) -> None:
    """Contours that are nowhere, have too many points, or belong to structures with impossible numbers."""
    import pydicom

    dataset = pydicom.dcmread(path)
    structures, contours = dataset.StructureSetROISequence, dataset.ROIContourSequence
    first = contours[0].ContourSequence[0]
    match rng.randrange(7):
        case 0:
            number = rng.choice((2**31 - 1, 70_000, -5, 0, int(structures[1].ROINumber)))
            structures[0].ROINumber = contours[0].ReferencedROINumber = number
        case 1:
            first.ContourData = [rng.choice(("1e300", "-1e30", "99999999"))] * 12
        case 2:
            first.ContourData = [f"{n % 100 / 10}" for n in range(300_000)]
        case 3:
            contours[0].ContourSequence = list(contours[0].ContourSequence) * 300
        case 4:
            first.ContourData = [*first.ContourData, "1"]
        case 5:
            first.ContourData = [str(round(float(mm) + 0.9, 3)) for mm in first.ContourData]
        case _:
            first.ContourGeometricType = rng.choice(("POINT", "OPEN_PLANAR", "XXX", ""))
    dataset.save_as(path)


def _series(path: Path, seeds: Seeds, rng: random.Random) -> None:
    """A series without some of its slices."""
    for one in sorted(path.parent.glob("IM*"))[: rng.choice((1, 5, 6))]:
        one.unlink()
    if rng.random() < 0.5:
        path.with_name("IM003").write_bytes(b"")


def _save(path: Path, **values: int) -> None:
    import pydicom

    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def _append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


SPECIAL: tuple[tuple[str, str, Callable[[Path, Seeds, random.Random], None]], ...] = (
    ("deflated", "alone", _deflated), ("nested", "contours", _nested), ("long element", "contours", _long_element),
    ("many items", "contours", _many_items), ("FIFO", "seg", _fifo), ("links", "seg", _links),
    ("two maps", "seg", _two_maps), ("frames", "seg", _frames), ("compressed", "seg", _compressed),
    ("size", "seg", _size), ("steps", "alone", _steps), ("same segments", "seg", _same_segments),
    ("contours", "contours", _contours), ("contours", "contours", _contours), ("contours", "contours", _contours),
    ("series", "contours", _series), ("series", "seg", _series),
)  # fmt: skip
"""Name, form, and damage of a DICOM file that describes what it does not contain."""
MUST_REFUSE = frozenset({"deflated", "two maps", "frames", "compressed", "size", "same segments"})
FORMS: tuple[tuple[str, bool, Make], ...] = (
    ("masks of structures", False, _masks),
    ("layers of 3D Slicer", False, _layers),
    ("DICOM SEG, bytes", True, _dicom_bytes("seg")),
    ("DICOM SEG, values", True, _dicom_values("seg")),
    ("DICOM SEG without series", True, _dicom_values("alone")),
    ("RTSTRUCT, bytes", True, _dicom_bytes("contours")),
    ("RTSTRUCT, values", True, _dicom_values("contours")),
    ("DICOM, special files", True, _dicom_special),
)
"""Forms; each job takes the next one."""
