"""Tests of the report of a small run."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.progress import CallbackProgress, NoProgress
from heartmend.errors import BadInputError
from heartmend.io.dataset import discover_cohort
from heartmend.io.file_names import escape_markdown
from heartmend.repair.change_log import ChangeLog
from heartmend.report.build import _evaluate, write_report
from heartmend.report.changes import CaseSelection
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import RunFolder
from support.cohorts import small_map
from support.runs import repaired
from support.volumes import save_nifti

ODD = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """URLs, event handlers and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.tags: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "data", "action", "srcset") and not (value or "").startswith("#"):
                self.loaded.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


@pytest.fixture(scope="module")
def written(finished_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "report"
    finished = FinishedRun.open(finished_out, images=finished_out.parent / "images")
    reports: list[tuple[str, int, int]] = []
    paths = write_report(
        finished,
        folder,
        selection=CaseSelection(["1"], worst=1, most_changed=1),
        workers=1,
        progress=CallbackProgress(lambda task, done, total, note: reports.append((task, done, total))),
    )
    assert {p.name for p in paths} == {"report.html", "report.md", "report_structures.png", "report_fit.png"}
    assert all(p.is_file() for p in paths)
    assert {task for task, done, total in reports if done == total} == {"changes", "evaluate", "pictures"}
    return folder


def test_the_page_loads_no_other_file(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loaded and all(url.startswith("data:image/webp;base64,") for url in page.loaded)
    assert "default-src 'none'" in text
    assert "url(" not in re.sub(r'url\("?#', "", text[: text.index("<main>")])
    assert 2 <= page.tags["article"] <= 3 and page.tags["canvas"] == 2 * page.tags["article"]


def test_names_are_escaped(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    assert not Page(text).handlers
    assert ODD not in text and "&lt;img src=x onerror=alert(1)&gt;" in text


def test_headers_and_paths_of_this_machine_are_not_in_the_report(written: Path, finished_out: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (written / name).read_text(encoding="utf-8")
        assert "Jane Doe" not in text and "kept to the last byte" not in text
        assert str(finished_out.parent) not in text


def test_the_table_lists_every_structure_and_the_fit_its_time(written: Path) -> None:
    text = (written / "report.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d) \|", text, flags=re.M)
    # The second case has no RA. The table before and after repair, and that of the expected errors.
    assert rows == 2 * [("LA", "3"), ("LV", "3"), ("RA", "2"), ("RV", "3")]
    assert re.search(r"^\| LV \| 3 \| [01]\.\d{3} \| [01]\.\d{3} to [01]\.\d{3} \|", text, flags=re.M)
    assert "40 steps in 2 phases in" in text
    assert "changed by, %" in text and "Dice, before with after" not in text


def test_the_verdict_and_the_facts_are_on_top(written: Path) -> None:
    head = (written / "report.md").read_text(encoding="utf-8").partition("## Stages")[0]
    assert "**3 of 3 cases repaired; " in head
    for text in ("command: heartmend run labels --output out --device cpu --workers 1", "review: nothing is decided"):
        assert text in head
    page = (written / "report.html").read_text(encoding="utf-8")
    assert page.index('class="verdict') < page.index('id="stages"') < page.index('id="cases"')


def test_a_reference_adds_a_table(finished_out: Path, tmp_path: Path) -> None:
    finished = FinishedRun.open(finished_out)
    write_report(
        finished,
        tmp_path,
        reference=finished_out.parent / "labels",
        selection=CaseSelection(worst=0, most_changed=0),
        workers=1,
    )
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    # The original labels are their own reference: Dice is 1 before repair.
    lv = re.search(r"^\| LV \| 3 \| 1\.000 → (0\.\d+) ", text, flags=re.M)
    assert lv is not None and float(lv[1]) > 0.8
    assert "<canvas" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_case_whose_result_is_damaged_is_left_out(finished_out: Path, tmp_path: Path) -> None:
    damaged = finished_out / "labels" / "2.nii.gz"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:200])
    try:
        write_report(
            FinishedRun.open(finished_out), tmp_path, selection=CaseSelection(worst=0, most_changed=0), workers=1
        )
    finally:
        damaged.write_bytes(content)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Left out" in text and re.search(r"^- 2: .*2\.nii\.gz", text, flags=re.M)


def test_an_unknown_case_is_an_error(finished_out: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no case 'nobody'"):
        write_report(FinishedRun.open(finished_out), tmp_path, selection=CaseSelection(["nobody"]), workers=1)


def test_markdown_is_escaped() -> None:
    assert escape_markdown("a|b\n# <b>[x](y)") == "a\\|b \\# \\<b\\>\\[x\\](y)"


def test_maps_of_another_numbering_are_compared_by_the_table_of_the_run(tmp_path: Path) -> None:
    """The reference has the numbering of the label maps, too; by the ids of the anatomy 1 would be the Myocardium."""
    labels, out, anatomy = tmp_path / "labels", tmp_path / "out", load_anatomy("heart")
    for folder in (labels, tmp_path / "reference"):
        save_nifti(folder / "1.nii.gz", np.where(small_map(1) > 0, small_map(1) - 1, 0), np.uint8)
    cohort = discover_cohort(labels, anatomy=anatomy, ids={1: "LA", 2: "LV", 3: "RA", 4: "RV"})
    with RunFolder.open(out, labels) as run:
        run.write_settings({"request": {"images": None}})
        run.write_cohort(cohort)
        run.write_anatomy(anatomy)
        run.write_skipped({})
        run.write_fused(cohort, cohort["1"], repaired(small_map(1)), ChangeLog("1"))
    finished = FinishedRun.open(out)
    comparison, against = _evaluate(finished, tmp_path / "reference", 1, NoProgress())
    assert against is not None
    for found in (comparison, against):
        assert [s.structure for s in found.summary] == ["LA", "LV", "RA", "RV"] and not found.skipped
