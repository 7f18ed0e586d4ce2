"""What the attacks share: a cohort, an undisturbed run of it, and the outcome of an attack."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from attacks.commands import Command, Ended, preload, run_command
from heartmend.compute.process_lifetime import end_with_parent

CASES = 3
VARIANTS = ("extra-vein",)
SETTINGS = """
[prepare]
resolution = 32

[fit]
points = 64
checkpoint_seconds = 0
phases = [
  {steps = 5, code_lr = 0.01, shape_lr = 0.1, side = 16, controls = 5, tolerance_mm = 3.0},
  {steps = 5, code_lr = 0.006, shape_lr = 0.05, side = 24, controls = 6},
]

[unify]
resolution = 32
side = 8
channels = 4
width = 16
points = 100
positives = 30
checkpoint_seconds = 0
template_phases = [{steps = 4, code_lr = 0.005, shape_lr = 0.05, side = 24, controls = 6}]
phases = [{steps = 5, code_lr = 0.05, shape_lr = 0.005, loss = "joint"}]
"""
RUN_MODULES = (
    "heartmend.cli.run", "heartmend.pipelines.run", "heartmend.stages.prepare", "heartmend.stages.fit.stage",
    "heartmend.stages.refine", "heartmend.stages.fuse.stage", "heartmend.stages.unify",
    "tensorboard.summary", "torch._dynamo",
)  # fmt: skip
"""Modules that `heartmend run` imports while it works."""


@dataclass(frozen=True)
class Outcome:
    """Result of one attack.

    Attributes:
        attack: what was done.
        problem: why it was not held; empty if it was.
        seconds: time until the answer; 0 where it has no meaning.
        peak_mb: peak memory of the process that was attacked; 0 where it was not measured.
        skipped: why the attack could not be done on this machine.
    """

    attack: str
    problem: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    skipped: str = ""

    @classmethod
    def of(cls, attack: str, ended: Ended, problem: str) -> Outcome:
        """Outcome of an attack on one command."""
        return cls(attack, problem, round(ended.seconds, 3), round(ended.peak_mb, 1))


@dataclass(frozen=True)
class Lab:
    """Folders of the attacks.

    Attributes:
        folder: folder of everything that they write.
        scale: factor of the number of attacks.
        seed: seed of the attacks.
    """

    folder: Path
    scale: float = 1.0
    seed: int = 0

    @property
    def labels(self) -> Path:
        """Label maps of the cohort; they are never changed."""
        return self.folder / "base" / "labels_noisy"

    @property
    def masks(self) -> Path:
        """The same label maps as folders of masks, one for each structure; they are never changed."""
        return self.folder / "base" / "masks"

    @property
    def convention(self) -> Path:
        """Convention that the cohort is repaired with, learned from its true label maps; it is never changed."""
        return self.folder / "base" / "convention.safetensors"

    @property
    def settings(self) -> Path:
        """Settings that repair the cohort in seconds."""
        return self.folder / "base" / "settings.toml"

    @property
    def undisturbed(self) -> Path:
        """Complete run of the cohort, with review files and decisions; it is never changed."""
        return self.folder / "base" / "out"

    def undisturbed_masks(self) -> Path:
        """Run of the masks up to their repair; it is never changed."""
        out = self.folder / "base" / "masks_repaired" / "out"
        with self._alone():
            while not out.exists():
                with self.scratch() as folder:
                    _check(self.run(folder / "out", "--stop-after", "fuse", labels=self.masks))
                    out.parent.mkdir(exist_ok=True)
                    (folder / "out").rename(out)
        return out

    def rng(self, kind: str, job: int) -> random.Random:
        """Random numbers of a job, which depend on nothing but the seed."""
        return random.Random(f"{self.seed} {kind} {job}")

    def run_words(self, out: Path, workers: int = 1, labels: Path | None = None, *more: object) -> list[object]:
        """Words of `heartmend run`; with the convention of the cohort unless there is another correction."""
        words: list[object] = ["run", labels or self.labels, "-o", out, "--config", self.settings, "--device", "cpu"]
        if not {"--convention", "--trusted"} & {*map(str, more)}:
            more = ("--convention", self.convention, *more)
        return [*words, "--workers", workers, *more]

    def run(self, out: Path, *more: object, labels: Path | None = None, limit_s: float = 300.0) -> Ended:
        """Run `heartmend run` until its end; the log is beside `out`."""
        return run_command(self.run_words(out, 1, labels, *more), out.parent / "log.txt", limit_s)

    def different(self, out: Path, undisturbed: Path | None = None) -> str:
        """Return which repaired label maps differ from those of the undisturbed run; empty if none does."""
        expected, found = digests((undisturbed or self.undisturbed) / "labels"), digests(out / "labels")
        names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        return f"label maps differ from the undisturbed run: {', '.join(names)}" if names else ""

    def prepare(self) -> None:
        """Make cohort and undisturbed run where they are missing.

        Raises:
            SystemExit: if the undisturbed run fails.
        """
        done = self.folder / "base" / "done"
        if done.exists():
            return
        shutil.rmtree(done.parent, ignore_errors=True)
        done.parent.mkdir(parents=True)
        # Imported before, because this process may attack after it; it does not import what only a run needs.
        preload()
        in_child(self._make)
        done.touch()

    def _make(self) -> None:
        preload(*RUN_MODULES, "heartmend.stages.correct", "heartmend.phantom.cohort")
        in_child(lambda: _write_cohort(self.labels.parent, self.masks))
        self.settings.write_text(SETTINGS)
        trusted = "--trusted", self.labels.parent / "labels_true", "--stop-after", "correct"
        _check(self.run(self.undisturbed, *trusted))
        shutil.copy(self.undisturbed / "run" / "correct" / self.convention.name, self.convention)
        # What does not depend on the convention is done.
        _check(self.run(self.undisturbed))
        in_child(lambda: _decide(self.undisturbed))

    def interrupted(self, checkpoint: str) -> Path:
        """Run of the cohort that was killed as soon as it had a checkpoint and its stamp; it is never changed."""
        out = self.folder / "base" / checkpoint.replace("/", "-") / "out"
        with self._alone():
            while not out.exists():
                with self.scratch() as folder:
                    if self._interrupt(folder / "out", checkpoint):
                        out.parent.mkdir(exist_ok=True)
                        (folder / "out").rename(out)
        return out

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time makes what several need."""
        with open(self.folder / "base" / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _interrupt(self, out: Path, checkpoint: str) -> bool:
        """Whether the run had the checkpoint when it was killed."""
        files = [out / checkpoint, (out / checkpoint).with_suffix(".json")]
        command = Command(self.run_words(out), out.parent / "log.txt")
        while not command.has_ended() and not all(file.exists() for file in files):
            time.sleep(0.002)
        with suppress(ProcessLookupError):
            os.kill(command.pid, signal.SIGKILL)
        command.wait()
        return all(file.exists() for file in files)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Provide an empty folder, removed at the end."""
        parent = self.folder / "scratch"
        parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file of a folder, by its relative path; of links and other files their kind."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            regular = path.is_file() and not path.is_symlink()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if regular else "no regular file"
            found[path.relative_to(folder).as_posix()] = digest
    return found


def in_child(work: object) -> None:
    """Call a function in a child process, so that its imports and threads are not inherited by later children.

    Raises:
        SystemExit: if it fails.
    """
    pid = os.fork()
    if pid == 0:
        end_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        except BaseException:  # noqa: BLE001  (the child must not continue with the work of its parent)
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("the data of the attacks could not be made; see the traceback above")


def _check(ended: Ended) -> None:
    if ended.status != 0:
        raise SystemExit(f"the undisturbed run failed:\n{ended.text}")


def _write_cohort(folder: Path, masks: Path) -> None:
    """Write the cohort: a heart has a vein more than the others, and another one a component far from it."""
    import nibabel as nib
    import numpy as np

    from heartmend.anatomy.load import load_anatomy
    from heartmend.phantom.cohort import PhantomSettings, write_cohort

    write_cohort(folder, CASES, 3, PhantomSettings(spacing_mm=3.5, variants=VARIANTS, faults="harsh"))
    path = folder / "labels_noisy" / "001.nii.gz"
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values[:4, :4, :4] = 3
    nib.save(nib.Nifti1Image(values, image.affine, image.header), path)
    structures = load_anatomy("heart").structures
    for path in sorted((folder / "labels_noisy").iterdir()):
        image = nib.load(path)
        values = np.asarray(image.dataobj)
        (masks / path.name.partition(".")[0]).mkdir(parents=True)
        for structure in structures:
            if (mask := values == structure.id).any():
                file = masks / path.name.partition(".")[0] / f"{structure.name}.nii.gz"
                nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), file)


def _decide(out: Path) -> None:
    """Make the run ready for its review and accept one change of every case."""
    from heartmend.review.case_cache import make_ready
    from heartmend.review.session import Review
    from heartmend.run_folder.decision_records import DecisionRequest
    from heartmend.run_folder.finished import FinishedRun

    finished = FinishedRun.open(out)
    if failed := make_ready(finished, workers=1):
        raise SystemExit(f"cases cannot be reviewed: {failed}")
    review = Review(finished, "Anna")
    requests = [
        DecisionRequest(s.case, s.changed_structures[0], "accept", "", s.stamp, 0)
        for s in review.summaries.values()
        if s.changed_structures
    ]
    review.decisions.write(requests, "Anna")
