"""Labels of a cohort corrected with a network that was trained on them: relabelling, confident learning.

A small U-Net (`small_unet.py`) is trained on the CTs and the noisy labels of one half of the cases and predicts the
other, on a coarse lattice. It is trained again with twice as many steps until the labels that it predicts agree no
better with the noisy labels of the cases that it has not seen; the truth is not used. Needs MONAI, and cleanlab for
confident learning: pip install '.[benchmarks]'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from coarse_cases import CoarseFolder, coarse_grid, on_grid
from small_unet import NetworkSettings, predict, train_network

from heartmend.io.atomic import read_json, read_npz, write_json, write_npz
from heartmend.io.dataset import Case
from heartmend.io.label_maps import LabelVolume
from heartmend.metrics.overlap import dice
from heartmend.types import Labels, Mask

Probabilities = npt.NDArray[np.float32]
Report = Callable[[str], None]
FOLDS = 2
MIN_GAIN = 0.005
"""Training goes on while twice the steps raise the mean Dice with the held-out noisy labels by more than this."""


class RelabelNetwork:
    """Probabilities of the structures for every case, by a network that was trained on the labels of other cases."""

    def __init__(self, cases: Sequence[Case], ids: Sequence[int], settings: NetworkSettings, folder: Path) -> None:
        """Read the cases onto the lattice.

        Args:
            cases: the cases, each with a CT.
            ids: ids of the structures.
            settings: settings of the network, with the steps of the first attempt.
            folder: folder for coarse volumes and probabilities; what is finished there is not trained again.
        """
        coarse = CoarseFolder(folder / "coarse", settings.spacing_mm)
        self.settings, self.folder, self.cases = settings, folder, cases
        self.values = np.array([0, *ids], np.uint8)
        self.images = [coarse.image(_image_path(case), f"images/{case.id}") for case in cases]
        maps = [coarse.labels(case.labels_path, f"labels/{case.id}") for case in cases]
        self.labels = [np.searchsorted(self.values, labels).astype(np.uint8) for labels in maps]
        self.cpu_s = 0.0
        self.steps = 0

    def train(self, max_steps: int, report: Report) -> None:
        """Train until more steps gain no more, or to the limit; sets `steps` and `cpu_s`, all attempts together."""
        done, steps, best = self.folder / "network.json", self.settings.steps, -1.0
        if done.is_file():
            table = read_json(done)
            self.cpu_s, self.steps = table["cpu_s"], table["steps"]
            return
        while True:
            started = time.process_time()
            found = self._predict_all(steps)
            agreement = self._agreement(found)
            self.cpu_s += time.process_time() - started
            report(
                f"network of {steps} steps: Dice {agreement:.4f} with held-out noisy labels, {self.cpu_s:.0f} s so far"
            )
            gain, best = agreement - best, max(best, agreement)
            if gain > 0:
                self.steps = steps
                for case, shares in zip(self.cases, found, strict=True):
                    write_npz(self.folder / f"probabilities_{case.id}.npz", {"shares": shares}, compressed=False)
            if gain <= MIN_GAIN or 2 * steps > max_steps:
                break
            steps *= 2
        write_json(done, {"cpu_s": round(self.cpu_s, 1), "steps": self.steps})

    def probabilities(self, case: Case) -> Probabilities:
        """Return the probabilities of a case: (class, x, y, z) float32 on the lattice."""
        return read_npz(self.folder / f"probabilities_{case.id}.npz")["shares"].astype(np.float32)

    def _predict_all(self, steps: int) -> list[npt.NDArray[np.float16]]:
        order = np.random.default_rng(0).permutation(len(self.cases))
        settings = replace(self.settings, steps=steps)
        out: dict[int, npt.NDArray[np.float16]] = {}
        for fold in range(FOLDS):
            held_out = [int(case) for case in order[fold::FOLDS]]
            training = [int(case) for case in order if case not in held_out]
            images, labels = [self.images[c] for c in training], [self.labels[c] for c in training]
            net = train_network(images, labels, len(self.values), settings, fold)
            for case in held_out:
                out[case] = predict(net, self.images[case], settings.patch).astype(np.float16)
        return [out[case] for case in range(len(self.cases))]

    def _agreement(self, found: Sequence[npt.NDArray[np.float16]]) -> float:
        values = [
            dice(shares.argmax(axis=0) == number, labels == number)
            for shares, labels in zip(found, self.labels, strict=True)
            for number in range(1, len(self.values)) if (labels == number).any()
        ]  # fmt: skip
        return float(np.mean(values))

    def relabelled(self, case: Case, volume: LabelVolume) -> Labels:
        """Return the most probable structure at every voxel of a case's own grid."""
        lattice = coarse_grid(volume.grid, self.settings.spacing_mm)
        best = np.zeros(volume.grid.shape, np.float32)
        out = np.zeros(volume.grid.shape, np.uint8)
        for value, shares in zip(self.values, self.probabilities(case), strict=True):
            found = on_grid(shares, lattice, volume.grid)
            out[found > best] = value
            np.maximum(best, found, out=best)
        return out

    def issues(self) -> list[Mask]:
        """Find the voxels of the lattice whose noisy label is wrong by confident learning (cleanlab), for each case.

        As `cleanlab.segmentation.filter.find_label_issues`: the issues over all voxels of the cohort together, less
        those whose label is the most probable one.
        """
        from cleanlab.experimental.label_issues_batched import find_label_issues_batched

        shares = [self.probabilities(case).reshape(len(self.values), -1).T for case in self.cases]
        labels = np.concatenate([one.ravel() for one in self.labels]).astype(np.int64)
        together = np.concatenate(shares)
        found = find_label_issues_batched(labels, together, batch_size=500_000, n_jobs=1, verbose=False)
        wrong = np.zeros(len(labels), bool)
        wrong[found] = True
        wrong &= together.argmax(axis=1) != labels
        parts = np.split(wrong, np.cumsum([one.size for one in self.labels])[:-1])
        return [part.reshape(one.shape) for part, one in zip(parts, self.labels, strict=True)]

    def corrected(self, volume: LabelVolume, relabelled: Labels, issues: Mask) -> Labels:
        """Give the voxels of a case that are issues their most probable structure."""
        lattice = coarse_grid(volume.grid, self.settings.spacing_mm)
        wrong = on_grid(issues.astype(np.float32), lattice, volume.grid) > 0.5
        return np.where(wrong, relabelled, volume.labels).astype(np.uint8)


def _image_path(case: Case) -> Path:
    if case.image_path is None:
        raise SystemExit(f"{case.labels_path}: has no CT; the networks need one for every case")
    return case.image_path
