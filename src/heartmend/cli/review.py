"""The commands with which people look at a run's result and release it: review, export, import."""

from __future__ import annotations

import getpass
import webbrowser
from pathlib import Path
from typing import Annotated, Optional

import typer

from heartmend.cli.terminal import RunFolder, Workers, app, console, progress_bar, told
from heartmend.errors import HeartmendError

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
    """Go through the changes of the run in OUT in a browser, the most doubtful case first, and decide.

    Nothing but this machine can reach the page, unless --host says otherwise. Decisions are kept in
    OUT/run/review/decisions.sqlite. Ctrl-C ends it.
    """
    from heartmend.review import Review, Subject, make_ready
    from heartmend.review.serve import bound, serve

    with told():
        subject = Subject.open(run_folder, labels, images)
        socket, access = bound(host, port, token)
        failed = {}
        with progress_bar() as bar:
            task = bar.add_task("review", total=len(subject.cohort), note="making cases ready")
            for case, _, error in make_ready(subject, workers):
                bar.update(task, advance=1)
                if error is not None:
                    failed[case.id] = str(error)
        _list_failed(failed, "cannot be shown")
        page = Review(subject, by or _user())
        if not page.digests:
            raise HeartmendError(f"{run_folder}: no case can be shown; see above")
        console.print(f"{len(page.digests)} cases at {access.url}  (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        if browser:
            webbrowser.open(access.url)
        serve(page, access, socket)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _list_failed(failed: dict[str, str], what: str) -> None:
    for case, why in failed.items():
        console.print(f"[bold red]{case}[/] {what}: {why}", highlight=False, soft_wrap=True)
