"""Learning of a convention from two label sets of the same scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from heartmend.compute.progress import Progress
from heartmend.errors import OutputError, RunError
from heartmend.pipelines.config import Config
from heartmend.pipelines.run import Request, run
from heartmend.repair.shared_errors.report import SharedErrors
from heartmend.run_folder.admission import check_no_overlap
from heartmend.run_folder.folder import RunFolder


@dataclass(frozen=True)
class ConventionRequest:
    """Inputs and options of a convention; see `heartmend convention --help`.

    Attributes:
        labels: folder of label maps in the convention of other data sets.
        wanted: folder of label maps of three or more of the same scans in the wanted convention.
        output: the file.
        anatomy: name of a built-in anatomy, or the path of an anatomy file.
        device: as for a run.
        workers: worker processes; 0: one per CPU core.
    """

    labels: Path
    wanted: Path
    output: Path
    anatomy: str = "heart"
    device: str = "auto"
    workers: int = 0


def learn_convention(request: ConventionRequest, config: Config, progress: Progress | None = None) -> SharedErrors:
    """Learn the correction that turns one convention into another, and write it to a file.

    Args:
        request: the two label sets and the file.
        config: settings of the fit.
        progress: receiver of progress reports.

    Returns:
        What the two label sets differ in.

    Raises:
        BadInputError: if the label sets cannot be used.
        RunError: if the file is inside one of their folders, or no template was fitted.
        OutputError: if the file cannot be written.
    """
    for given in (request.labels, request.wanted):
        check_no_overlap(request.output, given)
    if request.output.is_dir():
        raise OutputError(f"{request.output}: is a folder; give the name of a file")
    with TemporaryDirectory(prefix="heartmend-convention-") as folder:
        result = run(
            Request(
                request.labels, Path(folder) / "run", anatomy=request.anatomy, device=request.device,
                workers=request.workers, stop_after="correct", trusted=request.wanted,
            ),
            config, progress,
        )  # fmt: skip
        records = RunFolder.at(result.output)
        shared, convention = records.shared_errors(), records.convention()
        if shared is None or convention is None:
            raise RunError(f"{request.labels}: no template was fitted; use a preset with a template, such as mend")
        convention.write(request.output)
    return shared
