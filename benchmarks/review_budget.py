"""Share of the remaining Dice error that a reviewer meets, against the share of structures that were looked at.

    python benchmarks/review_budget.py OUT TRUTH [--cases N] [--csv curve.csv]

OUT is a finished run, TRUTH a folder of true label maps with the file names of its input. The structures are looked at
in the order of the review queue (`heartmend.review.priority.expected_errors`); beside it the order of the calibrated
estimates of the change logs, where the run has them for all structures, that of the change of the volume by the repair,
a random order, and the best order that there is (that of the true error), which no estimate can exceed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.surface_noise import surface_area_mm2
from heartmend.io.tables import format_csv
from heartmend.review.priority import expected_error, expected_errors
from heartmend.run_folder.finished import FinishedRun

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)


def structure_errors(finished: FinishedRun, truth: Path, cases: int) -> list[tuple[float, float, float, float]]:
    """Expected and calibrated Dice error, change of the logarithm of the volume, and true Dice error of each structure.

    Of the first cases; NaN where an estimate is not known.
    """
    calibrated: dict[tuple[str, str], float] = {}
    own: dict[str, dict[str, tuple[float, float]]] = {}
    true_errors: dict[tuple[str, str], float] = {}
    volume_changes: dict[tuple[str, str], float] = {}
    for case in list(finished)[: cases or None]:
        before, after = finished.before(case), finished.after(case)
        true = finished.cohort.read_other_labels(case, truth / case.labels_path.name).on_grid(before.grid).labels
        count = [np.bincount(labels.ravel(order="K"), minlength=256) for labels in (before.labels, after.labels, true)]
        same_before = np.bincount(after.labels[after.labels == before.labels], minlength=256)
        same_true = np.bincount(after.labels[after.labels == true], minlength=256)
        inside = bounding_box(after.labels, margin=1)
        part = after.labels[inside]
        own[case.id] = {}
        calibrated |= {(case.id, one.structure): one.expected_error for one in finished.changes(case).estimates}
        for s in finished.anatomy.structures:
            n_before, n_after, n_true = (int(c[s.id]) for c in count)
            if not n_after + n_true:
                continue
            area = surface_area_mm2(part == s.id, before.grid.spacing_mm)
            changed = 1 - 2 * int(same_before[s.id]) / max(n_before + n_after, 1)
            mm3 = n_after * before.grid.voxel_mm3
            own[case.id][s.name] = expected_error(mm3, area, changed), mm3
            volume_changes[case.id, s.name] = abs(float(np.log((n_after + 1) / (n_before + 1))))
            true_errors[case.id, s.name] = 1 - 2 * int(same_true[s.id]) / (n_after + n_true)
    expected = expected_errors(own)
    return [
        (expected[case][name], calibrated.get((case, name), np.nan), volume_changes[case, name], error)
        for (case, name), error in true_errors.items()
    ]


def share_met(order: np.ndarray, error: np.ndarray) -> list[float]:
    """Share of all error in the first structures of an order, for each of `SHARES`."""
    met = np.cumsum(error[order]) / error.sum()
    return [float(met[max(round(share * len(order)), 1) - 1]) for share in SHARES]


def main() -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("truth", type=Path, metavar="TRUTH")
    parser.add_argument("--cases", type=int, default=0, help="use the first N cases only")
    parser.add_argument("--csv", type=Path, help="write the curve")
    arguments = parser.parse_args()
    found = structure_errors(FinishedRun.open(arguments.output), arguments.truth, arguments.cases)
    expected, calibrated, volume, error = np.array(found).T
    rng = np.random.default_rng(0)
    random = np.mean([share_met(rng.permutation(len(error)), error) for _ in range(200)], axis=0)
    curves = {"queue": share_met(np.argsort(-expected, kind="stable"), error)}
    if np.isfinite(calibrated).all():
        curves["calibrated estimate"] = share_met(np.argsort(-calibrated, kind="stable"), error)
    curves["change of the volume"] = share_met(np.argsort(-volume, kind="stable"), error)
    curves |= {"random": random.tolist(), "best possible": share_met(np.argsort(-error, kind="stable"), error)}
    console = Console(width=100)
    console.print(f"{len(error)} structures, mean Dice error {error.mean():.4f}, expected {expected.mean():.4f}")
    table = Table("looked at", *(f"{share:.0%}" for share in SHARES), box=box.SIMPLE_HEAD)
    for name, met in curves.items():
        table.add_row(name, *(f"{share:.0%}" for share in met))
    console.print(table)
    if arguments.csv:
        rows = [[share, *(round(met[k], 4) for met in curves.values())] for k, share in enumerate(SHARES)]
        arguments.csv.write_text(format_csv(["looked_at", *curves], rows))


if __name__ == "__main__":
    main()
