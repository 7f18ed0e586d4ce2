"""Damaged files of a complete run: after the same command again, the labels are the same, or the damage is reported."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attacks.commands import Ended, preload, run_command
from attacks.damages import DAMAGES, Damage, swap
from attacks.lab import RUN_MODULES, Lab, Outcome, digests
from heartmend.io.regular import is_regular

COUNT = 133
TIME_LIMIT_S = 120.0
CHECKPOINTS = ("run/fit/last.safetensors", "run/unify/template.safetensors", "run/unify/details.safetensors")
"""Files that only a run that was interrupted has; beside each is its stamp (.json)."""
UNCHECKED = (
    "run/heartmend.log", "run/lock", "run/fit/tensorboard", "run/withdrawn", "run/history.json",
    "run/records/done/history.json",
)  # fmt: skip
"""Files that are written for people alone, or anew each time; the history has the time of each command."""


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), len(DAMAGES) + 1)


@contextmanager
def opened(lab: Lab) -> Iterator[list[str]]:
    """Provide the names of the files of the run, one of every kind."""
    preload(*RUN_MODULES, "heartmend.cli.export", "heartmend.release.export")
    out = lab.undisturbed
    names = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]
    names = [name for name in names if not Path(name).name.startswith(("002.", "003."))]
    _check_records(out, names)
    random.Random(lab.seed).shuffle(names)
    with lab.scratch() as folder:
        expected = _export(lab, lab.undisturbed, folder)
        if expected.status not in (0, 3):
            raise SystemExit(f"the undisturbed run cannot be exported: {expected.text}")
        (lab.folder / "base" / "export.txt").write_text(repr(sorted(_exported(folder).items())))
    yield names


def attack(lab: Lab, names: list[str], job: int, rng: random.Random) -> Iterator[Outcome]:
    """Damage one file of a copy of the run; run again; export.

    Every eighth job damages a mask of a run of masks, and another one a checkpoint of a run that was killed.
    """
    damage = DAMAGES[job % len(DAMAGES)]
    if job % 8 in (3, 7):
        yield _attack_mask(lab, damage, rng) if job % 8 == 7 else _attack_checkpoint(lab, damage, job // 8, rng)
        return
    # Every kind of file meets every damage in turn.
    name = names[(job + job // len(names)) % len(names)]
    with lab.scratch() as folder:
        out = folder / "out"
        shutil.copytree(lab.undisturbed, out)
        path = out / name
        others = [p for p in sorted(path.parent.iterdir()) if p.is_file() and p != path and p.suffix == path.suffix]
        if damage is swap and not others:
            others = [out / "run" / "settings.json"]
        damage(path, rng.choice(others) if others else path, rng)
        again = lab.run(out, limit_s=TIME_LIMIT_S)
        problem = _problem(lab, out, name, again)
        if not problem and again.status == 0 and not name.startswith(UNCHECKED):
            problem = _problem_of_export(lab, out, name, folder)
        yield Outcome.of(f"{damage.__name__.replace('_', ' ')}: {name}", again, problem)


def _attack_mask(lab: Lab, damage: Damage, rng: random.Random) -> Outcome:
    with lab.scratch() as folder:
        out = folder / "out"
        undisturbed = lab.undisturbed_masks()
        shutil.copytree(undisturbed, out)
        case = out / "labels" / "001"
        path, other = rng.sample(sorted(p for p in case.rglob("*") if p.is_file()), 2)
        damage(path, other, rng)
        name = path.relative_to(out).as_posix()
        again = lab.run(out, "--stop-after", "fuse", labels=lab.masks, limit_s=TIME_LIMIT_S)
        problem = again.fault()
        if not problem and again.status != 0 and not again.names(path.name, str(out)):
            problem = f"no message names the file: {again.text[-300:]}"
        if not problem and again.status == 0 and (different := lab.different(out, undisturbed)):
            problem = f"exit status 0, but {different}"
        return Outcome.of(f"{damage.__name__.replace('_', ' ')}: {name}", again, problem)


def _attack_checkpoint(lab: Lab, damage: Damage, turn: int, rng: random.Random) -> Outcome:
    name = CHECKPOINTS[turn % len(CHECKPOINTS)]
    with lab.scratch() as folder:
        out = folder / "out"
        shutil.copytree(lab.interrupted(name), out)
        path = out / name
        if turn // len(CHECKPOINTS) % 2:
            path = path.with_suffix(".json")
        damage(path, out / "run" / "settings.json", rng)
        again = lab.run(out, limit_s=TIME_LIMIT_S)
        problem = again.fault()
        if not problem and again.status != 0 and not again.names(path.name, "settings.json"):
            problem = f"no message names the file: {again.text[-300:]}"
        if not problem and again.status == 0 and (different := lab.different(out)):
            problem = f"exit status 0, but {different}"
        return Outcome.of(f"{damage.__name__.replace('_', ' ')}: {path.relative_to(out)}", again, problem)


def _check_records(out: Path, names: list[str]) -> None:
    """The run has all kinds of records: shared errors, far components, unusual anatomy, checkpoints, review, model."""
    needed = ("run/correct/shared_errors.json", "run/correct/convention.safetensors", "run/unify/model.zip",
              "run/review/decisions.sqlite", "run/review/001.maps.gz")  # fmt: skip
    if missing := [name for name in needed if name not in names]:
        raise SystemExit(f"the undisturbed run has no {missing[0]}; it has {', '.join(sorted(names))}")
    changes = {
        entry["rule"]
        for folder in ("prepare", "refine")
        for path in sorted((out / "run" / folder).glob("*.json"))
        for entry in json.loads(path.read_text()).get("changes", ())
    }
    if missing := [rule for rule in ("far_components", "unusual_anatomy") if rule not in changes]:
        raise SystemExit(f"the undisturbed run has no record of {missing[0]}, but of {', '.join(sorted(changes))}")


def _problem(lab: Lab, out: Path, name: str, again: Ended) -> str:
    if fault := again.fault():
        return fault
    if again.status != 0:
        # Of a swap the other file may be the one that is reported.
        return "" if again.names(Path(name).name, str(out)) else f"no message names the file: {again.text[-300:]}"
    if different := lab.different(out):
        return f"exit status 0, but {different}"
    path, original = out / name, lab.undisturbed / name
    if name.startswith((*UNCHECKED, "run/review")) or again.names(path.name):
        return ""
    if not is_regular(path):
        return "remains no regular file, without a message"
    return "" if _same(path, original) else "remains damaged, without a message"


def _same(path: Path, original: Path) -> bool:
    """Whether a file is as in the undisturbed run, but for the output folder in settings and the times in a log."""
    if path.name in ("settings.json", "done.json"):
        # The digests of reports depend on the times in them, those of settings on the output folder.
        return _constant(path) == _constant(original)
    if path.name == "log.csv":
        return _steps(path) == _steps(original)
    return path.read_bytes() == original.read_bytes()


def _constant(path: Path) -> object:
    try:
        table = json.loads(path.read_text())
    except ValueError:
        return None
    if path.parent.name == "done":
        return table.get("fingerprint")
    return {key: value for key, value in table.items() if key not in ("request", "reports")}


def _steps(path: Path) -> list[list[str]]:
    """All columns but time and memory."""
    with open(path, newline="", errors="replace") as file:
        rows = list(csv.DictReader(file))
    return [[str(v) for k, v in row.items() if k not in ("seconds", "peak_memory_mb")] for row in rows]


def _problem_of_export(lab: Lab, out: Path, name: str, folder: Path) -> str:
    """The review files and decisions are read by `export`: the same data set, or a message."""
    ended = _export(lab, out, folder)
    if fault := ended.fault():
        return f"export: {fault}"
    expected = (lab.folder / "base" / "export.txt").read_text()
    if ended.names(Path(name).name, str(out)):
        return ""
    if ended.status in (0, 3) and repr(sorted(_exported(folder).items())) == expected:
        path, original = out / name, lab.undisturbed / name
        if (
            not name.startswith("run/review")
            or path.suffix == ".sqlite"
            or (is_regular(path) and _same(path, original))
        ):
            return ""
        return "export: a review file remains damaged, without a message"
    return f"export: another data set without a message: {ended.text[-200:]}"


def _export(lab: Lab, out: Path, folder: Path) -> Ended:
    words = ["export", out, "-o", folder / "export", "--undecided", "accept", "--formats", "none", "--workers", 1]
    return run_command(words, folder / "export.txt", TIME_LIMIT_S)


def _exported(folder: Path) -> dict[str, str]:
    """Digests of the exported label maps by name."""
    found: dict[str, str] = {}
    for inner in sorted(p for p in (folder / "export").rglob("*") if p.is_dir()):
        found |= {f"{inner.name}/{k}": v for k, v in digests(inner).items() if ".nii" in k or ".nrrd" in k}
    return found
