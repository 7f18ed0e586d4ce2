"""What is read and written: volumes, label maps, the cases of a data set, and the folder of a run."""

from heartmend.data.cohort import Case, Cohort, discover_cohort
from heartmend.data.labels import LabelVolume, Other, read_labels, write_labels_like
from heartmend.data.names import case_id
from heartmend.data.nifti import write_volume
from heartmend.data.out_folder import refuse_overlap
from heartmend.data.run import Run, array_digest, file_fingerprint, fingerprint, versions
from heartmend.data.volume import Volume, read_image, read_volume
from heartmend.files import atomic_write, read_json, read_npz, write_json, write_npz, write_safetensors, write_text

__all__ = [
    "Case",
    "Cohort",
    "LabelVolume",
    "Other",
    "Run",
    "Volume",
    "array_digest",
    "atomic_write",
    "case_id",
    "discover_cohort",
    "file_fingerprint",
    "fingerprint",
    "read_image",
    "read_json",
    "read_labels",
    "read_npz",
    "read_volume",
    "refuse_overlap",
    "versions",
    "write_json",
    "write_labels_like",
    "write_npz",
    "write_safetensors",
    "write_text",
    "write_volume",
]
