"""Command `review`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heartmend.cli.options import COMPUTATION, MovedImages, MovedLabels, RunFolder, Workers
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_skipped
from heartmend.wording import plural

if TYPE_CHECKING:
    from heartmend.run_folder.finished import FinishedRun

EXAMPLES = """
heartmend review out/
heartmend review out/ --images cts/ --by "A. Radiologist"
heartmend review out/ --host 0.0.0.0 --no-browser
"""

Reviewer = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Name of the reviewer; by default your user name.")
]  # fmt: skip


def review(
    run_folder: RunFolder, images: MovedImages = None, labels: MovedLabels = None, by: Reviewer = "",
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", rich_help_panel=COMPUTATION,
                     help="Address to listen on; one that other machines reach needs a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, rich_help_panel=COMPUTATION, help="Port; 0: any free."),
    ] = 8765,
    token: Annotated[
        str,
        typer.Option("--token", metavar="TEXT", rich_help_panel=COMPUTATION, envvar="HEARTMEND_TOKEN",
                     help="Token that visitors need; generated where one is needed."),
    ] = "",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", rich_help_panel=COMPUTATION, help="Open the page in a browser.")
    ] = True,
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Accept or reject the changes of a run in the browser.

    The most uncertain cases come first; the others are prepared in the meantime, also those of a run in progress. The
    page is served to this machine only, unless --host is given. Decisions are stored in
    OUT/run/review/decisions.sqlite at once. Ctrl-C stops the server.
    """
    import webbrowser

    from heartmend.review.serve import listen, serve
    from heartmend.review.session import Review
    from heartmend.run_folder.decision_records import user_name
    from heartmend.run_folder.finished import FinishedRun

    listener, access = listen(host, port, token)
    finished = FinishedRun.open(run_folder, labels, images)
    page = Review(finished, by or user_name(), workers, _refit_command(run_folder, labels, images, workers))
    page.start()
    typer.echo(f"{plural(len(finished.cohort), 'case')} at {access.url} (stop with Ctrl-C)")
    if browser:
        webbrowser.open(access.url)
    serve(page, access, listener)


def _refit_command(output: Path, labels: Path | None, images: Path | None, workers: int) -> tuple[str, ...]:
    """The command that the button of the page starts."""
    from heartmend.io.file_names import real_path

    command = [sys.executable, "-m", "heartmend", "--quiet", "refit", str(real_path(output)), "--workers", str(workers)]
    for name, folder in (("--labels", labels), ("--images", images)):
        command += [name, str(real_path(folder))] if folder is not None else []
    return tuple(command)


def open_for_review(output: Path, labels: Path | None, images: Path | None, workers: int) -> FinishedRun:
    """Open a run and write the review files of its cases; cases without them are printed.

    Args:
        output: output folder of the run.
        labels: folder of the original label maps, if they were moved.
        images: folder of the CT images, if they were moved.
        workers: number of worker processes.

    Returns:
        The run.
    """
    from heartmend.review.case_cache import make_ready
    from heartmend.run_folder.finished import FinishedRun

    finished = FinishedRun.open(output, labels, images)
    with TerminalProgress() as progress:
        failed = make_ready(finished, workers, progress)
    print_skipped(failed)
    return finished
