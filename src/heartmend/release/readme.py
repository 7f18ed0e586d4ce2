"""The README of a released data set: counts, how it was made, what to cite, under which terms."""

from __future__ import annotations

from collections import Counter
from importlib import resources

from heartmend.anatomy.schema import Anatomy
from heartmend.io.file_names import plain_markdown
from heartmend.release.layouts import Layout, Names
from heartmend.release.plan import Plans
from heartmend.run_folder.versions import versions

_FOLDERS: dict[Layout, str] = {
    "nnunet": "| `nnunet/` | data set folder of nnU-Net v2: `dataset.json`, `labelsTr`{images} |",
    "bids": "| `bids/` | BIDS derivatives: `sub-*/anat/*_dseg.nii.gz`, the ids in `desc-mended_dseg.tsv` |",
    "slicer": "| `slicer/` | segmentations for 3D Slicer, with names and colours |",
    "itksnap": "| `itksnap/` | names and colours for ITK-SNAP (Import Label Descriptions), for `labels/` |",
    "meshes": "| `meshes/CASE/` | surface of each structure (PLY, mm, RAS) |",
}


def release_readme(
    title: str, plans: Plans, anatomy: Anatomy, names: Names, layouts: frozenset[Layout], images: bool, made: str
) -> str:
    """The README (Markdown) of what was released. `made`: when, ISO 8601."""
    chosen = {
        s.name: Counter(p.choices[s.name] for p in plans.release if s.name in p.choices) for s in anatomy.structures
    }
    by = Counter(d.who for p in plans.release for d in p.decided)
    reviewers = [f"{plain_markdown(who)} ({n})" for who, n in sorted(by.items())]
    lines = [
        f"# {plain_markdown(title)}", "",
        f"{len(plans.release)} label maps of {anatomy.title or anatomy.name}, mended with Heartmend and looked at by "
        "people, who decided structure by structure.", "",
        "| | cases |", "|---|---|",
        f"| released | {len(plans.release)} |",
        f"| waiting for a correction by hand (`manual/`) | {len(plans.manual)} |",
        f"| left out | {len(plans.left_out)} |", "",
        "## What was decided", "",
        "| structure | id | mended | original | corrected by hand |", "|---|---|---|---|---|",
        *(
            f"| {s.name} | {s.id} | {chosen[s.name]['accept']} | {chosen[s.name]['keep']} | "
            f"{chosen[s.name]['corrected']} |"
            for s in sorted(anatomy.structures, key=lambda s: s.id)
        ), "",
        f"Decisions by: {', '.join(reviewers) or 'nobody'}. `decisions.csv` has "
        "them all, `changelog/` tells each case.", "",
        "A map is the mended one. Wherever a structure that was kept as the original is concerned, in the original "
        "or in the mended map, the voxel stays as it came; the same holds for structures that were corrected by "
        "hand, with the corrected map, which comes last. So kept and corrected structures are exact, and a mended "
        "neighbour gives way along the border.", "",
        "## What is where", "",
        "| | |", "|---|---|",
        "| `labels/` | the label maps, under the names, on the grids and with the headers of those that came in |",
        *(_FOLDERS[layout].format(images=", `imagesTr`" if images else "; add your CTs as `imagesTr/CASE_0000.nii.gz`")
          for layout in _FOLDERS if layout in layouts),
        "| `changelog/` | what was decided and changed in each case |",
        "| `decisions.csv` | who decided what and when |", "",
    ]  # fmt: skip
    if plans.left_out:
        lines += [
            "Left out:",
            "",
            *(f"- {plain_markdown(id)}: {plain_markdown(why)}" for id, why in plans.left_out.items()),
            "",
        ]
    sources = (resources.files("heartmend.release") / "sources.md").read_text(encoding="utf-8")
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines += ["## Made with", "", f"{made}. {used}.", "", sources.rstrip(), "",
              "Not a medical device: for research and for the training of networks."]  # fmt: skip
    return "\n".join(lines) + "\n"
