"""The commands with which people look at a run's result and release it: review, export, import."""

from __future__ import annotations

import getpass
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from heartmend.cli.terminal import SOME_REFUSED, RunFolder, Workers, app, console, counting, progress_bar, told
from heartmend.errors import ConfigError, HeartmendError

if TYPE_CHECKING:
    from heartmend.release.layouts import Layout
    from heartmend.release.plan import Undecided
    from heartmend.run_folder.finished import FinishedRun

MovedLabels = Annotated[Optional[Path], typer.Option("--labels", help="Where the label maps lie now, if moved.")]  # noqa: UP045  (typer)
MovedImages = Annotated[Optional[Path], typer.Option("--images", help="Folder of the CTs, if not that of the run.")]  # noqa: UP045


By = Annotated[str, typer.Option("--by", help="Who decides; your name on this machine if not given.")]


@app.command()
def review(
    run_folder: RunFolder, images: MovedImages = None, labels: MovedLabels = None, by: By = "",
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's own asks for a token.")]
    = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    token: Annotated[str, typer.Option(help="What visitors must bring; made when needed.", envvar="HEARTMEND_TOKEN")]
    = "",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Go through the changes of the run in OUT in a browser, the most uncertain_voxels case first, and decide.

    Nothing but this machine can reach the page, unless --host says otherwise. Decisions are kept in
    OUT/run/review/decisions.sqlite. Ctrl-C ends it.
    """
    from heartmend.review.serve import bound, serve
    from heartmend.review.app import Review

    with told():
        listener, access = bound(host, port, token)
        subject = _ready(run_folder, labels, images, workers)
        page = Review(subject, by or _user())
        if not page.digests:
            raise HeartmendError(f"{run_folder}: no case can be shown; see above")
        console.print(f"{len(page.digests)} cases at {access.url}  (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        if browser:
            webbrowser.open(access.url)
        serve(page, access, listener)


@app.command()
def export(
    run_folder: RunFolder,
    to: Annotated[Path, typer.Option(help="Folder for the data set; not there yet, or empty.")],
    formats: Annotated[str, typer.Option(help="Layouts beside labels/: nnunet,bids,slicer,itksnap,meshes; or none.")]
    = "nnunet,bids,slicer,itksnap,meshes",
    undecided: Annotated[str, typer.Option(help="Open structures: leave-out the case, or accept, or keep.")]
    = "leave-out",
    copy_images: Annotated[bool, typer.Option("--copy-images", help="Put the CTs into nnunet/ too.")] = False,
    images: MovedImages = None, labels: MovedLabels = None, workers: Workers = 0,
) -> None:  # fmt: skip
    """Write the reviewed run in OUT as a data set: label maps by the decisions, layouts, changelog, README.

    Cases that are marked for manual work come as a folder for 3D Slicer; `heartmend import` takes them back. Exit
    status: 0 all cases are released, 3 some wait or are left out (README.md says why), 1 nothing could be released.
    """
    from heartmend.release.export import export_release

    with told():
        layouts, rest = _layouts(formats), _undecided(undecided)
        subject = _ready(run_folder, labels, images, workers)
        with progress_bar() as bar:
            plans = export_release(subject, to, layouts, rest, copy_images, workers, counting(bar, "export"))
        console.print(f"{len(plans.release)} cases released in {to}", highlight=False, soft_wrap=True)
        if plans.manual:
            console.print(
                f"{len(plans.manual)} to be corrected by hand in {to / 'manual'}", highlight=False, soft_wrap=True
            )
        _list_failed(plans.left_out, "is left out")
    if plans.manual or plans.left_out:
        raise typer.Exit(SOME_REFUSED)


@app.command("import")
def import_(
    run_folder: RunFolder,
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of corrected maps, or a decisions.csv.")],
    by: By = "", images: MovedImages = None, labels: MovedLabels = None, workers: Workers = 0,
) -> None:  # fmt: skip
    """Take hand-corrected maps (3D Slicer's .seg.nrrd, or label maps) or a table of decisions into the run in OUT."""
    from heartmend.release.corrections import import_corrected
    from heartmend.run_folder.decisions import decisions_of
    from heartmend.run_folder.decisions_table import import_csv

    failed = {}
    with told():
        subject = _ready(run_folder, labels, images, workers)
        if source.is_file():
            cases = dict.fromkeys((case.id for case in subject), subject.anatomy.names)
            text = source.read_text(encoding="utf-8-sig", errors="replace")
            table = import_csv(text, decisions_of(subject), cases)
            console.print(
                f"{table.written} decisions taken, {table.known} known already, {table.older} older than those here"
            )
            return
        with progress_bar() as bar:
            for taken in import_corrected(subject, source, by or _user(), counting(bar, "import")):
                if taken.error:
                    failed[taken.case] = taken.error
                else:
                    corrected = ", ".join(taken.structures)
                    console.print(f"{taken.case}: {corrected} corrected", highlight=False, soft_wrap=True)
        _list_failed(failed, "is not taken")
    if failed:
        raise typer.Exit(SOME_REFUSED)


def _ready(run_folder: Path, labels: Path | None, images: Path | None, workers: int) -> FinishedRun:
    """The run with every case ready for review; what cannot be made ready is told."""
    from heartmend.review.case_cache import make_ready
    from heartmend.run_folder.finished import FinishedRun

    subject = FinishedRun.open(run_folder, labels, images)
    failed = {}
    with progress_bar() as bar:
        task = bar.add_task("review", total=len(subject.cohort), note="making cases ready")
        for case, _, error in make_ready(subject, workers):
            bar.update(task, advance=1)
            if error is not None:
                failed[case.id] = str(error)
    _list_failed(failed, "cannot be shown")
    return subject


def _layouts(formats: str) -> frozenset[Layout]:
    from heartmend.release.layouts import LAYOUTS

    asked = {word.strip() for word in formats.split(",")} - {"", "none"}
    if unknown := asked - set(LAYOUTS):
        raise ConfigError(
            f"--formats: no layout is called {', '.join(sorted(unknown))}; there are {', '.join(LAYOUTS)}"
        )
    return frozenset(layout for layout in LAYOUTS if layout in asked)


def _undecided(word: str) -> Undecided:
    from heartmend.release.plan import UNDECIDED

    for known in UNDECIDED:
        if word == known:
            return known
    raise ConfigError(f"--undecided {word!r}: there are {', '.join(UNDECIDED)}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _list_failed(failed: dict[str, str], what: str) -> None:
    for case, why in failed.items():
        console.print(f"[bold red]{case}[/] {what}: {why}", highlight=False, soft_wrap=True)
