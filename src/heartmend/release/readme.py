"""README of a released data set."""

from __future__ import annotations

from collections import Counter
from importlib import resources

from heartmend.anatomy.schema import Anatomy
from heartmend.io.file_names import escape_markdown
from heartmend.release.changelog import source_of
from heartmend.release.layouts import Layout, ReleaseNames
from heartmend.release.training import TrainingOptions
from heartmend.review.plan import ReleasePlan
from heartmend.run_folder.versions import versions

_SOURCES = ("repaired", "repaired in part", "original", "corrected by hand")
_FOLDERS: dict[Layout, str] = {
    "nnunet": "| `nnunet/{dataset}/` | nnU-Net v2 data set: `dataset.json`, `labelsTr`{images} |",
    "bids": "| `bids/` | BIDS derivatives: `sub-*/anat/*_dseg.nii.gz`; ids in `desc-repaired_dseg.tsv` |",
    "slicer": "| `slicer/` | segments for 3D Slicer: names, colours, SNOMED CT codes, status (completed: reviewed) |",
    "itksnap": "| `itksnap/` | `CASE.itksnap`: label map, CT, names and colours for ITK-SNAP; label descriptions |",
    "meshes": "| `meshes/CASE/` | surface of each structure (PLY, mm, RAS) |",
    "totalsegmentator": "| `totalsegmentator/CASE/segmentations/` | one mask per structure, with the names of "
    "TotalSegmentator |",
    "dicom-seg": "| `dicom-seg/CASE.dcm` | DICOM segmentation of the CT series, with SNOMED CT codes |",
    "rtstruct": "| `rtstruct/CASE.dcm` | DICOM structure set of the CT series |",
    "decathlon": "| `decathlon/{task}/` | task of the Medical Segmentation Decathlon: `dataset.json`, "
    "`labelsTr`{task_images} |",
}


def release_readme(
    title: str,
    plan: ReleasePlan,
    anatomy: Anatomy,
    names: ReleaseNames,
    layouts: frozenset[Layout],
    training: TrainingOptions,
    written_at: str,
) -> str:
    """Write the README of a release.

    Args:
        title: title of the data set.
        plan: released and other cases.
        anatomy: anatomy of the label maps.
        names: names in the layouts.
        layouts: layouts besides labels/.
        training: options for the layouts that networks are trained with.
        written_at: time of the release, ISO 8601.

    Returns:
        Markdown: counts, method, folders, software versions, citations and terms.
    """
    counts = {
        s.name: Counter(source_of(p, s.name) for p in plan.release if s.name in p.choices) for s in anatomy.structures
    }
    used = [names.values[p.case.id] for p in plan.release]
    values = {
        s.name: ", ".join(map(str, sorted({v for one in used for v, name in one.items() if name == s.name})))
        for s in anatomy.structures
    }
    by_reviewer = Counter(d.reviewer for p in plan.release for d in p.decisions)
    reviewers = [f"{escape_markdown(name)} ({n})" for name, n in sorted(by_reviewer.items())]
    has_images = training.images != "none" and any(p.case.image_path for p in plan.release)
    texts = {
        "dataset": names.nnunet, "task": names.decathlon,
        "images": ", `imagesTr`" if has_images else "; add your CTs as `imagesTr/CASE_0000.nii.gz`",
        "task_images": ", `imagesTr`" if has_images else "; add your CTs as `imagesTr/CASE.nii.gz`",
    }  # fmt: skip
    lines = [
        f"# {escape_markdown(title)}", "",
        f"{len(plan.release)} label maps of {anatomy.title or anatomy.name}, repaired with Heartmend. The changes were "
        "reviewed by people, change by change.", "",
        "| | cases |", "|---|---|",
        f"| released | {len(plan.release)} |",
        f"| to be corrected by hand (`to_correct/`) | {len(plan.to_correct)} |",
        f"| left out | {len(plan.left_out)} |", "",
        "## Decisions", "",
        "| structure | value in `labels/` | repaired | repaired in part | original | corrected by hand |",
        "|---|---|---|---|---|---|",
        *(
            f"| {s.name} | {values[s.name]} | "
            + " | ".join(str(counts[s.name][source]) for source in _SOURCES) + " |"
            for s in sorted(anatomy.structures, key=lambda s: s.id)
        ), "",
        f"Decisions by reviewer: {', '.join(reviewers) or 'none'}. `decisions.csv` lists all decisions, `changelog/` "
        "the changes of each case.", "",
        "A released label map starts as the repaired map. The voxels of a change that was rejected by itself get their "
        "original labels. Of the other changes, a voxel that belongs to a rejected structure in the original or in the "
        "repaired map gets its original label. A voxel that belongs to a hand-corrected structure "
        "gets its label of the corrected map. Therefore rejected structures equal the original ones, corrected "
        "structures equal the corrected ones, and an accepted neighbour loses the voxels of an overlap.", "",
        "## Folders", "",
        "| | |", "|---|---|",
        "| `labels/` | label maps with the file names, grids and headers of the input |",
        *(_FOLDERS[layout].format(**texts) for layout in _FOLDERS if layout in layouts),
        "| `changelog/` | decisions and changes of each case |",
        "| `decisions.csv` | all decisions with reviewer and time |", *_uncertain(training), "",
    ]  # fmt: skip
    if plan.left_out:
        lines += [
            "Left out:",
            "",
            *(f"- {escape_markdown(id)}: {escape_markdown(reason)}" for id, reason in plan.left_out.items()),
            "",
        ]
    sources = (resources.files("heartmend.release") / "sources.md").read_text(encoding="utf-8")
    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines += ["## Software", "", f"Written at {written_at} with {software}.", "", sources.rstrip(), "",
              "Not a medical device: for research and for the training of networks."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _uncertain(training: TrainingOptions) -> list[str]:
    """Row about uncertain labels in the table of folders."""
    if training.ignore_above is None:
        return []
    return [
        "| `case_weights.csv` | weights of the cases for a sampler: expected Dice over its mean. In `nnunet/`, voxels "
        f"with a probability of an error above {training.ignore_above:g} have the label `ignore` |"
    ]
