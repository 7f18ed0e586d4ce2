"""Command `embed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from heartmend.cli.options import (
    SETTINGS,
    Ids,
    Labels,
    Model,
    PresetIds,
    RunOutput,
    Uncertainty,
    UnknownLabels,
    Workers,
)
from heartmend.cli.pipeline_command import exit_with, run_with_progress
from heartmend.cli.progress import TerminalProgress

if TYPE_CHECKING:
    from heartmend.pipelines.result import Result

EXAMPLES = """
heartmend embed model.zip labels/ -o new/
heartmend embed out/ labels/ -o new/ --complete
heartmend embed model.zip mmwhs_labels/ -o new/ --preset-ids mmwhs
"""


def embed(
    model: Model, labels: Labels, output: RunOutput, unknown_labels: UnknownLabels = "error", ids: Ids = None,
    preset_ids: PresetIds = "",
    complete: Annotated[
        bool,
        typer.Option("--complete", rich_help_panel=SETTINGS, help="Take missing structures from the model."),
    ] = False,
    uncertainty: Uncertainty = False, workers: Workers = 0,
) -> None:  # fmt: skip
    """Repair label maps of new patients with a trained model.

    The weights stay frozen; only each patient's latent code is optimised. Incomplete and single hearts can be repaired.
    OUT/labels contains the repaired label maps, OUT/run/embed/model.zip the new codes.

    Exit codes: 0 all cases repaired; 3 some cases skipped; 1 nothing done.
    """
    from heartmend.pipelines.embed import EmbedRequest
    from heartmend.pipelines.embed import embed as embed_cohort
    from heartmend.run_folder.folder import model_file
    from heartmend.stages.embed import EmbedSettings

    def pipeline(progress: TerminalProgress) -> Result:
        request = EmbedRequest(
            model_file(model),
            labels,
            output,
            unknown_labels,
            workers,
            ids=ids,
            preset_ids=preset_ids,
            uncertainty=uncertainty,
        )
        return embed_cohort(request, EmbedSettings(complete=complete), progress)

    exit_with(run_with_progress(pipeline, output))
