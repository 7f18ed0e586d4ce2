"""Cases made ready for the page, once: digest, label maps and surfaces, in OUT/run/review."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from heartmend.compute.workers import Outcome, each
from heartmend.errors import BadInputError
from heartmend.io.atomic import write_bytes, write_json
from heartmend.io.dataset import Case
from heartmend.io.digests import fingerprint
from heartmend.io.volume import read_template
from heartmend.review.summary import Digest, digest
from heartmend.review.page_data import Window, image_file, pack_maps, pack_surfaces
from heartmend.run_folder.decisions import VERB
from heartmend.run_folder.finished import FinishedRun

# What depends on how it is made ready: raised with every change of it.
FORMAT = 1


@dataclass(frozen=True)
class _Job:
    subject: FinishedRun
    case: Case
    mark: str


def make_ready(subject: FinishedRun, workers: int = 0) -> Iterator[Outcome[Case, None]]:
    """Make every case ready that is not so yet; yields each with its error, if any."""
    jobs = []
    for case in subject:
        mark = fingerprint(FORMAT, subject.stamp(case), subject.anatomy, case.image_path is not None)
        if subject.run.is_done(VERB, case.id, mark):
            yield case, None, None
        else:
            jobs.append(_Job(subject, case, mark))
    for job, _, error in each(_work, jobs, workers):
        yield job.case, None, error


def read_summary(subject: FinishedRun, case: Case) -> Digest:
    """The digest of a case that is ready."""
    return Digest.from_json(subject.run.case_path(VERB, case.id, ".json").read_text(encoding="utf-8"))


def read_image(subject: FinishedRun, case: Case) -> bytes:
    """The shown part of a case's CT as a NIfTI file; read anew each time, because it is large."""
    shown = read_summary(subject, case).grid
    if case.image_path is None:
        return image_file(None, shown)
    _, grid = read_template(case.labels_path)
    image = subject.image(case, grid)
    return image_file(None if image is None else Window.showing(shown, grid).of(image.values), shown)


def _work(job: _Job) -> None:
    subject, case, run = job.subject, job.case, job.subject.run
    before, after = subject.before(case), subject.after(case)
    if not before.grid.is_close(after.grid):
        raise BadInputError(f"{after.path}: is not on the grid of {before.path}; mend the case again")
    window = Window.about((before.labels | after.labels) > 0, before.grid)
    was, now = (window.of(v.labels).astype(np.uint8) for v in (before, after))
    found = digest(
        case.id, subject.stamp(case), was, now, window.grid, subject.anatomy, subject.changes(case),
        case.image_path is not None,
    )  # fmt: skip
    run.forget(VERB, case.id)
    write_json(run.case_path(VERB, case.id, ".json"), found.to_dict())
    write_bytes(run.case_path(VERB, case.id, ".maps.gz"), pack_maps(was, now))
    write_bytes(run.case_path(VERB, case.id, ".surfaces.gz"), pack_surfaces(was, now, window.grid, subject.anatomy))
    run.mark_done(VERB, case.id, job.mark)
