"""Small volume files with headers that are not the default."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

OBLIQUE = np.array([[-0.48, 0.1, 0.3, 12.5], [0.08, -0.5, 0.9, -7.25], [0.1, 0.2, 2.8, 100.125], [0, 0, 0, 1.0]])


def some_labels(shape: tuple[int, ...] = (7, 6, 5), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 11, shape).astype(np.uint8)


def save_nifti(
    path: Path, values: np.ndarray, dtype: object = np.uint8, affine: np.ndarray = OBLIQUE, kind: type = nib.Nifti1Image
) -> Path:
    """A NIfTI file with an sform unlike its qform, codes, units, times, texts and an extension."""
    image = kind(np.asarray(values).astype(dtype), affine, dtype=dtype)
    header = image.header
    header.set_data_dtype(dtype)
    header.set_qform(np.diag([-0.5, -0.5, 3.0, 1.0]), code=3)
    header.set_sform(affine, code=4)
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = b"Jane Doe"
    header["cal_max"] = 10
    header["intent_code"] = 1002
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept to the last byte"))
    image.header["toffset"] = 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def save_itk(path: Path, values: np.ndarray, *, packed: bool = True) -> Path:
    """An NRRD or MetaImage file with a direction, an origin and a field of its own; values (x, y, z)."""
    image = sitk.GetImageFromArray(values.T)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10.0, -20.0, 30.5))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    image.SetMetaData("Segment0_Name", "Left atrium")
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path
