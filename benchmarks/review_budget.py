"""Share of the remaining Dice error that a reviewer meets, against the share of structures and of minutes.

    python benchmarks/review_budget.py OUT TRUTH [--cases N] [--network FOLDER] [--figure FILE]

OUT is a finished run, TRUTH a folder of true label maps with the file names of its input. The orders:

  queue              expected error in a minute of correction, as the review page (`heartmend.review.priority`)
  error alone        the expected error, whatever the time
  calibrated         the calibrated estimates of the change logs, where the run has them for all structures
  volume change      the change of the volume by the repair
  cleanlab           with --network (OUT/network of `peers.py --networks`): cleanlab's quality scores of the repaired
                     labels by the probabilities of a network trained on the CTs and noisy labels of other cases, and
                     in a minute
  random, best, best by minute   the last two by the true error, which no estimate can exceed

The minutes are those of `heartmend.repair.editing.correction_time`, a model that was not fitted to measured times. The
shares at a fifth have 95 % bootstrap intervals over the cases.
"""

from __future__ import annotations

import argparse
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from trust_order import LOOKED_AT, MET, case_interval

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box, expand_box
from heartmend.geometry.surface_noise import surface_area_mm2
from heartmend.io.atomic import read_npz
from heartmend.io.label_maps import LabelVolume
from heartmend.repair.editing.correction_time import correction_minutes
from heartmend.review.priority import expected_error, expected_errors
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import FloatArray

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
NETWORK_MM = 2.0
"""Voxels of the probabilities of `peers.py --networks`."""


@dataclass(frozen=True)
class Reviewed:
    """A structure of a case: what orders it, and its error.

    Attributes:
        expected: expected error by the queue.
        calibrated: calibrated expected error; NaN where it is not known.
        volume_change: change of the logarithm of the volume.
        cleanlab: 1 - cleanlab's label quality score; NaN without a network.
        minutes: time of a correction.
        error: true 1 - Dice.
        case: number of the case.
    """

    expected: float
    calibrated: float
    volume_change: float
    cleanlab: float
    minutes: float
    error: float
    case: int


def reviewed_structures(finished: FinishedRun, truth: Path, cases: int, network: Path | None) -> list[Reviewed]:
    """List the structures of the first cases."""
    found: dict[tuple[str, str], Reviewed] = {}
    own: dict[str, dict[str, tuple[float, float]]] = {}
    for number, case in enumerate(list(finished)[: cases or None]):
        before, after = finished.before(case), finished.after(case)
        true = finished.cohort.read_other_labels(case, truth / case.labels_path.name).on_grid(before.grid).labels
        count = [np.bincount(labels.ravel(order="K"), minlength=256) for labels in (before.labels, after.labels, true)]
        same_before = np.bincount(after.labels[after.labels == before.labels], minlength=256)
        same_true = np.bincount(after.labels[after.labels == true], minlength=256)
        inside = bounding_box(after.labels, margin=1)
        part = after.labels[inside]
        calibrated = {one.structure: one.expected_error for one in finished.changes(case).estimates}
        scores = (
            {} if network is None else label_scores(after, finished.anatomy, network / f"probabilities_{case.id}.npz")
        )
        own[case.id] = {}
        for s in finished.anatomy.structures:
            n_before, n_after, n_true = (int(c[s.id]) for c in count)
            if not n_after + n_true:
                continue
            area = surface_area_mm2(part == s.id, before.grid.spacing_mm)
            changed = 1 - 2 * int(same_before[s.id]) / max(n_before + n_after, 1)
            mm3 = n_after * before.grid.voxel_mm3
            own[case.id][s.name] = expected_error(mm3, area, changed), mm3
            found[case.id, s.name] = Reviewed(
                0.0, calibrated.get(s.name, np.nan), abs(float(np.log((n_after + 1) / (n_before + 1)))),
                1 - scores.get(s.name, np.nan), correction_minutes(mm3, area),
                1 - 2 * int(same_true[s.id]) / (n_after + n_true), number,
            )  # fmt: skip
    expected = expected_errors(own)
    return [Reviewed(expected[case][name], *astuple(one)[1:]) for (case, name), one in found.items()]


def label_scores(volume: LabelVolume, anatomy: Anatomy, probabilities: Path) -> dict[str, float]:
    """Score the label of each structure by cleanlab, with the probabilities of a network on a coarse lattice.

    `cleanlab.segmentation.rank.get_label_quality_scores`, its default: the soft minimum of the probabilities of the
    given labels. An image is the box of a structure, with two classes: the structure and the rest.
    """
    from cleanlab.segmentation.rank import get_label_quality_scores
    from coarse_cases import coarse_labels

    shares = read_npz(probabilities)["shares"].astype(np.float32)
    coarse = coarse_labels(volume.labels, volume.grid, NETWORK_MM)
    found = {}
    for number, s in enumerate(anatomy.structures, start=1):
        mask = coarse == s.id
        own = bounding_box(mask | (shares.argmax(axis=0) == number))
        if own is None:
            continue
        wide = expand_box(own, (2, 2, 2), mask.shape)
        labels, share = mask[wide].reshape(1, 1, -1).astype(np.int64), shares[number][wide].reshape(1, 1, -1)
        scores, _ = get_label_quality_scores(labels, np.stack([1 - share, share], axis=1), verbose=False)
        found[s.name] = float(scores[0])
    return found


def orders(found: list[Reviewed]) -> dict[str, FloatArray]:
    """List the orders that the estimates allow, the largest value first."""
    expected, calibrated, volume, cleanlab, minutes, error, _ = np.array([astuple(one) for one in found]).T
    known = {"queue": expected / minutes, "error alone": expected}
    known |= {"calibrated": calibrated} if np.isfinite(calibrated).all() else {}
    known |= {"volume change": volume}
    if np.isfinite(cleanlab).all():
        known |= {"cleanlab": cleanlab, "cleanlab by minute": cleanlab / minutes}
    return known | {"best": error, "best by minute": error / minutes}


def curves_table(found: list[Reviewed], title: str) -> Table:
    """Make the table of the share of the error that each order meets, by share of structures or of minutes."""
    error, minutes, case = (np.array([getattr(one, name) for one in found]) for name in ("error", "minutes", "case"))
    met = MET[title]

    def cell(order: FloatArray, share: float) -> str:
        text = f"{met(error, order, minutes, share):.0%}"
        if share != LOOKED_AT:
            return text
        low, high = case_interval(case, lambda at: met(error[at], order[at], minutes[at], share))
        return f"{text} ({100 * low:.0f} to {high:.0%})"

    table = Table(title, *(f"{share:.0%}" for share in SHARES), box=box.SIMPLE_HEAD)
    for name, order in orders(found).items():
        table.add_row(name, *(cell(order, share) for share in SHARES))
    rng = np.random.default_rng(0)
    draws = [rng.random(len(error)) for _ in range(200)]
    table.add_row("random", *(f"{np.mean([met(error, one, minutes, share) for one in draws]):.0%}" for share in SHARES))
    return table


def draw(found: list[Reviewed], path: Path) -> None:
    """Draw the curves."""
    import matplotlib.pyplot as plt

    error, minutes = np.array([one.error for one in found]), np.array([one.minutes for one in found])
    drawing, axes = plt.subplots(1, 2, figsize=(10.5, 4.8), sharey=True)
    shares = np.linspace(0.01, 1, 100)
    for ax, met, label in zip(axes, MET.values(), ("structures looked at", "minutes of correction"), strict=True):
        for at, (name, order) in enumerate(orders(found).items()):
            style = (
                {"color": "0.45", "linestyle": "--" if "minute" in name else ":"}
                if name.startswith("best")
                else {"color": f"C{at}", "linestyle": "--" if "by minute" in name else "-"}
            )
            curve = [met(error, order, minutes, share) for share in shares]
            ax.plot([0, *shares], [0, *curve], label=name, linewidth=2.2 if name == "queue" else 1.2, **style)
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=1, label="random")
        ax.plot(LOOKED_AT, 0.5, "k+", markersize=11)
        ax.set(xlabel=f"share of the {label}", xlim=(0, 1), ylim=(0, 1))
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("share of the Dice error that is left")
    axes[1].legend(fontsize=8, loc="lower right")
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def main() -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("truth", type=Path, metavar="TRUTH")
    parser.add_argument("--cases", type=int, default=0, help="use the first N cases only")
    parser.add_argument("--network", type=Path, help="folder of the probabilities of a network")
    parser.add_argument("--figure", type=Path, help="image file of the curves")
    arguments = parser.parse_args()
    run = FinishedRun.open(arguments.output)
    found = reviewed_structures(run, arguments.truth, arguments.cases, arguments.network)
    console = Console(width=110)
    minutes = sum(one.minutes for one in found) / 60
    error = float(np.mean([one.error for one in found]))
    console.print(f"{len(found)} structures, mean Dice error {error:.4f}, {minutes:.0f} hours of correction in all")
    for title in MET:
        console.print(curves_table(found, title))
    if arguments.figure is not None:
        draw(found, arguments.figure)


if __name__ == "__main__":
    main()
