"""Command `refit`."""

from __future__ import annotations

from heartmend.cli.options import Device, MovedImages, MovedLabels, RunFolder, Workers
from heartmend.cli.pipeline_command import exit_with, run_with_progress
from heartmend.cli.review import open_for_review
from heartmend.cli.terminal import print_summary
from heartmend.wording import plural

EXAMPLES = """
heartmend refit out/
heartmend refit out/ --images cts/ --workers 8
"""


def refit(
    run_folder: RunFolder, images: MovedImages = None, labels: MovedLabels = None,
    device: Device = "auto", workers: Workers = 0,
) -> None:  # fmt: skip
    """Repair the undecided cases again, from those corrected by hand.

    Cases that were corrected on the review page or with `heartmend import`, and are decided completely, count as
    trusted: what they have in common with each other and not with the repaired maps is corrected in all cases without a
    decision. Cases with a decision stay as they are. At least three corrected cases are needed.

    Exit codes: 0 all cases repaired; 3 some cases skipped (OUT/run/skipped.json has the reasons); 1 nothing done.
    """
    from heartmend.pipelines.result import Result
    from heartmend.release.teach import Lesson, teach

    finished = open_for_review(run_folder, labels, images, workers)
    lessons: list[Lesson] = []

    def learn(progress: object) -> Result:
        lesson, result = teach(
            finished, device, workers, images, progress  # type: ignore[arg-type]
        )  # fmt: skip
        lessons.append(lesson)
        return result

    result = run_with_progress(learn, run_folder)
    open_for_review(run_folder, labels, images, workers)
    for lesson in lessons:
        anew = len([id for id in result.cases if id not in lesson.kept])
        print_summary(
            f"learned from {plural(len(lesson.trusted), 'corrected case')}; {plural(anew, 'case')} repaired again, "
            f"{len(lesson.kept)} with a decision kept"
        )
    exit_with(result)
