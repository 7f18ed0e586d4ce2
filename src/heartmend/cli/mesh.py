"""Command `mesh`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.options import OUTPUT, CaseId, Model, Output, Structures, choices, split_names
from heartmend.cli.terminal import print_paths

EXAMPLES = """
heartmend mesh out/ 001 -o meshes/
heartmend mesh model.zip 001 -o meshes/ --formats stl,glb --structures LA,LV
"""
FORMATS = ("stl", "vtp", "glb")


def mesh(
    model: Model, case: CaseId, output: Output, structures: Structures = "",
    formats: Annotated[
        str,
        typer.Option("--formats", metavar="NAMES", rich_help_panel=OUTPUT, callback=choices(*FORMATS),
                     help="stl, vtp, glb; with commas."),
    ] = "stl",
    spacing_mm: Annotated[
        float,
        typer.Option("--spacing-mm", metavar="MM", min=0.2, max=4.0, rich_help_panel=OUTPUT,
                     help="Grid spacing for surface extraction, in mm."),
    ] = 0.8,
) -> None:  # fmt: skip
    """Write the surfaces of one case from a model.

    Closed, smooth surfaces in mm (RAS), one per structure, extracted from the implicit function itself.
    """
    from heartmend.io.mesh_files import write_meshes
    from heartmend.models.model_file import load_heart_model
    from heartmend.run_folder.folder import model_file

    known = load_heart_model(model_file(model))
    meshes = known.mesh(case, spacing_mm, split_names(structures))
    for kind in split_names(formats):
        print_paths(write_meshes(output, case, meshes, known.anatomy, kind))
