"""The tools beside mending: resized volumes, scores, phantom hearts, the demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.mend import say, watched
from heartmend.cli.terminal import (
    SOME_REFUSED,
    AnatomyName,
    Device,
    Folder,
    Images,
    Labels,
    Out,
    Workers,
    app,
    console,
    counting,
    plain,
    progress_bar,
    told,
)
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request


@app.command()
def resize(
    labels: Labels, out: Folder, images: Images = None, anatomy: AnatomyName = "heart",
    resolution: Annotated[int, typer.Option(help="Voxels along each side.")] = 256, workers: Workers = 0,
) -> None:  # fmt: skip
    """Cut every case to its heart and resample label map and CT to RESOLUTION³ (nothing is mended)."""
    from heartmend.pipelines.crop import crop_cohort

    with told(), progress_bar() as bar:
        outcomes = crop_cohort(labels, out, images, load_anatomy(anatomy), resolution, workers, counting(bar, "resize"))
        skipped = {case: error for case, error in outcomes if error is not None}
        for case, error in skipped.items():
            console.print(f"[bold red]skipped {plain(case)}[/]: {plain(error)}", soft_wrap=True)
    if skipped:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def phantom(
    out: Folder, count: Annotated[int, typer.Option(min=1)] = 12, seed: int = 1,
    spacing_mm: Annotated[float, typer.Option(min=0.4, max=3.0)] = 0.9, workers: Workers = 0,
) -> None:  # fmt: skip
    """Make a cohort of phantom hearts: labels_true, labels_noisy (corrupt_mask) and images (CT)."""
    from heartmend.compute.workers import cores
    from heartmend.phantom.cohort import write_cohort

    with told():
        with progress_bar() as bar:
            ids = write_cohort(out, count, seed, workers or cores(), spacing_mm, progress=counting(bar, "phantom"))
        console.print(f"{len(ids)} hearts in {out}")


@app.command()
def demo(
    out: Out = Path("demo_out"), count: Annotated[int, typer.Option(min=3)] = 12, seed: int = 1,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Make phantom hearts, corrupt them, mend them, and show before and after: a table here, pictures in OUT."""
    from heartmend.compute.workers import cores
    from heartmend.figures.demo import draw_pictures
    from heartmend.metrics.evaluation import evaluate_folders
    from heartmend.metrics.table import summary_tables
    from heartmend.phantom.cohort import write_cohort

    began = time.monotonic()
    with told():
        anatomy = load_anatomy("heart")
        cohort = out / "cohort"
        console.print(f"Making {count} phantom hearts, spoiling them as networks do, with CT images ...")
        with progress_bar() as bar:
            write_cohort(cohort, count, seed, cores(), spacing_mm=1.4, progress=counting(bar, "phantom"))
        request = Request(
            labels=cohort / "labels_noisy", out=out / "mended", images=cohort / "images", device=device, until="fuse"
        )
        result = watched(request, load_config("fast"))
        with progress_bar() as bar:
            found = evaluate_folders(
                cohort / "labels_noisy", result.out, anatomy, cohort / "labels_true", progress=counting(bar, "evaluate")
            )
        console.print(summary_tables(found.summary, found.metrics, anatomy))
        for path in draw_pictures(cohort, result.out / "labels", out / "pictures", anatomy):
            console.print(f"picture: {path}")
        say(result)
    console.print(f"Done in {time.monotonic() - began:.0f} s.")
