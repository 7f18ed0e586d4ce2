"""Small volume files with headers that differ from the defaults."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

# Rotation by 0.3 about (1, 2, 3); voxels of 0.5 x 0.55 x 3 mm.
OBLIQUE = np.array(
    [
        [-0.47926337, 0.12680953, 0.50259884, 12.5],
        [-0.1216619, -0.53245362, -0.17951878, -7.25],
        [0.07419572, -0.05396743, 2.95214624, 100.125],
        [0, 0, 0, 1.0],
    ]
)


def some_labels(shape: tuple[int, ...] = (7, 6, 5), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 11, shape).astype(np.uint8)


def save_nifti(
    path: Path, values: np.ndarray, dtype: object = np.uint8, affine: np.ndarray = OBLIQUE, kind: type = nib.Nifti1Image
) -> Path:
    """Write a NIfTI file with different sform and qform, codes, units, times, texts and an extension."""
    image = kind(np.asarray(values).astype(dtype), affine, dtype=dtype)
    header = image.header
    header.set_data_dtype(dtype)
    # As after a registration: the same voxels at another position.
    header.set_qform(affine, code=3)
    header["qoffset_x"] += 4
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
    """Write an NRRD or MetaImage file with a direction, an origin and a custom field; values (x, y, z)."""
    image = sitk.GetImageFromArray(values.T)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10.0, -20.0, 30.5))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    image.SetMetaData("Segment0_Name", "Left atrium")
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path
