"""The commands about a model of hearts: label maps and surfaces from it, new hearts, and the space between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from heartmend.cli.mend import Bars, say
from heartmend.cli.terminal import (
    SOME_REFUSED,
    Folder,
    Labels,
    Out,
    UnknownLabels,
    Workers,
    app,
    console,
    counting,
    progress_bar,
    told,
)
from heartmend.errors import ConfigError

if TYPE_CHECKING:
    from heartmend.models.heart_model import HeartModel

Model = Annotated[
    Path, typer.Argument(help="A model of `heartmend unify` (model.zip), or the folder that a run was given as --out.")
]
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The id of a case of the model.")]
Like = Annotated[
    Optional[Path],  # noqa: UP045  (typer)
    typer.Option(help="A volume on whose grid the result shall lie, such as the CT."),
]


@app.command()
def render(
    model: Model, case: CaseId, to: Annotated[Path, typer.Option(help="NIfTI file to write.")],
    resolution: Annotated[int, typer.Option(min=16, max=512, help="Voxels along each side of the ROI.")] = 128,
    like: Like = None,
    probability: Annotated[str, typer.Option(metavar="STRUCTURE", help="Its probability, not the labels.")] = "",
) -> None:  # fmt: skip
    """Write what the function says of CASE on any grid: a label map, or a structure's probability.

    Of a run that is not unified yet, it is the shape of stage 1 that is asked.
    """
    from heartmend.pipelines.render import write_render

    with told():
        write_render(model, case, to, resolution, like, probability)
        console.print(f"{to}")


@app.command()
def mesh(
    model: Model, case: CaseId, out: Folder,
    formats: Annotated[str, typer.Option("--format", help="stl, vtp, glb; several with commas.")] = "stl",
    structures: Annotated[str, typer.Option(help="These alone, such as LA,LV; all if none is named.")] = "",
    spacing_mm: Annotated[float, typer.Option(min=0.2, max=4.0, help="How finely the function is asked.")] = 0.8,
) -> None:  # fmt: skip
    """Write closed, smooth surfaces of CASE in mm (RAS), one for each structure, from the function itself."""
    from heartmend.io.mesh_files import write_meshes
    from heartmend.models.surfaces import surfaces_of

    with told():
        known = _load(model)
        names = [name.strip() for name in structures.split(",") if name.strip()]
        meshes = surfaces_of(known, known.heart(case), spacing_mm, names)
        for kind in (kind.strip().lower() for kind in formats.split(",")):
            for path in write_meshes(out, case, meshes, known.anatomy, kind):
                console.print(f"{path}")


@app.command()
def embed(
    model: Model, labels: Labels, out: Out, unknown_labels: UnknownLabels = "error", workers: Workers = 0,
    complete: Annotated[
        bool, typer.Option("--complete", help="Take structures that a label map lacks from the model.")
    ] = False,
) -> None:  # fmt: skip
    """Meet hearts that MODEL never saw: its weights frozen, only a code is fitted, and LABELS are mended with it.

    OUT/labels holds the mended files, OUT/run/embed/model.zip the new hearts. Parts of hearts and broken maps will do.
    Exit status: 0 all mended, 3 some cases skipped, 1 nothing could be done.
    """
    from heartmend.pipelines.embed import embed as embed_all

    with told(), progress_bar() as bar:
        file = model_file(model)
        result = embed_all(
            file,
            labels,
            out,
            complete=complete,
            workers=workers,
            watcher=Bars(bar),
            unknown_labels=unknown_labels,  # type: ignore[arg-type]
        )
    say(result)
    if result.skipped:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def hearts(
    model: Model, out: Folder,
    between: Annotated[str, typer.Option(help="Two cases, such as 001,007: pictures of the way between them.")] = "",
    modes: Annotated[int, typer.Option(min=0, max=10, help="How many principal modes to show.")] = 3,
) -> None:  # fmt: skip
    """The space of hearts: the mean heart, how hearts differ, the way between two, and how usual each case is."""
    from heartmend.figures.population import draw_hearts

    with told():
        pair = tuple(id.strip() for id in between.split(",") if id.strip())
        if len(pair) not in (0, 2):
            raise ConfigError(f"--between {between}: give two case ids with a comma between them")
        with progress_bar() as bar:
            paths = draw_hearts(_load(model), out, pair, modes, counting(bar, "hearts"))
        for path in paths:
            console.print(f"{path}")


def model_file(path: Path) -> Path:
    """The file of a model: the path itself, or that of the run in this folder."""
    from heartmend.pipelines.render import unified_model

    return unified_model(path)


def _load(path: Path) -> HeartModel:
    from heartmend.models.model_file import load_heart_model

    return load_heart_model(model_file(path))
