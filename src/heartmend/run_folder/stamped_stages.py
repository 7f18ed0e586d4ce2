"""Stages of a run and their stamps: what is finished, what is damaged, what is withdrawn."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from heartmend.errors import DamagedError, RunError
from heartmend.io.atomic import read_json, write_json
from heartmend.io.file_names import real_path
from heartmend.io.forms.files import files_of
from heartmend.io.regular import check_regular
from heartmend.run_folder.paths import (
    CLASSIFIERS,
    EMBED,
    FIT,
    FUSE,
    RECORDS,
    REFERENCE,
    REVIEW,
    SEGMENTS,
    UNCERTAINTY,
    RunPaths,
    inside,
)
from heartmend.run_folder.stamp import Stamp, content_digest

WITHDRAWN = "withdrawn"
"""Folder of results that are not those of the run any more."""
_COMMANDS = {CLASSIFIERS: FIT, REFERENCE: FUSE, RECORDS: "run", REVIEW: REVIEW, EMBED: EMBED}
"""Command that writes the files of a stage, where it has another name."""
log = logging.getLogger(__name__)


class StampedStages(RunPaths):
    """Stamps of the stages of a run."""

    def is_done(self, stage: str, case_id: str | None, fingerprint: str) -> bool:
        """Check whether a stage has finished a case with this fingerprint.

        It has not where one of its files is missing or was changed. A repaired label map may also be a correction by
        hand that was registered (`register_correction`). A report that was changed is withdrawn, with a warning.

        Args:
            stage: name of the stage.
            case_id: id of the case; None: the whole cohort.
            fingerprint: fingerprint of what the result depends on.

        Returns:
            True if the stage need not run again.
        """
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        if stamp is None or stamp.fingerprint != fingerprint:
            return False
        if not all(self._is_intact(name, digest, case_id) for name, digest in stamp.files.items()):
            return False
        self._withdraw_damaged_reports(stage, case_id, stamp)
        return True

    def finish(
        self, stage: str, case_id: str | None, fingerprint: str, files: Iterable[Path] = (),
        reports: Iterable[Path] = (),
    ) -> None:  # fmt: skip
        """Stamp a case as finished, after all files of it are in place.

        Args:
            stage: name of the stage.
            case_id: id of the case; None: the whole cohort.
            fingerprint: fingerprint of what the result depends on.
            files: files that later stages read.
            reports: files that no stage reads.
        """
        Stamp.of_files(fingerprint, files, self.output, reports).write(self._stamp_path(stage, case_id))

    def finish_file(self, stage: str, case_id: str, path: Path) -> None:
        """Add a file to the stamp of a case that a stage has finished: one that is made later than the others.

        Args:
            stage: name of the stage.
            case_id: id of the case. Where it is not finished, nothing happens.
            path: the file.
        """
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        if stamp is not None:
            name = path.relative_to(self.output).as_posix()
            replace(stamp, files={**stamp.files, name: content_digest(path)}).write(self._stamp_path(stage, case_id))

    def has_finished_file(self, stage: str, case_id: str, path: Path) -> bool:
        """Return whether a stage has made a file of a case.

        Args:
            stage: name of the stage.
            case_id: id of the case.
            path: the file.

        Returns:
            True if the stamp has it.
        """
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        return stamp is not None and path.relative_to(self.output).as_posix() in stamp.files

    def forget(self, stage: str, case_id: str | None = None) -> None:
        """Remove a stamp, before the files of the stage are changed.

        Args:
            stage: name of the stage.
            case_id: id of the case; None: the whole cohort.
        """
        self._stamp_path(stage, case_id).unlink(missing_ok=True)

    def is_stamped(self, stage: str, case_id: str | None = None) -> bool:
        """Check whether a stage has left a stamp, also one that cannot be read.

        Args:
            stage: name of the stage.
            case_id: id of the case; None: the whole cohort.

        Returns:
            True if there is something in the place of the stamp.
        """
        return os.path.lexists(self._stamp_path(stage, case_id))

    def digest(self, stage: str, case_id: str | None = None) -> str:
        """Compute a short text that changes with what a stage wrote for a case.

        Args:
            stage: name of the stage.
            case_id: id of the case; None: the whole cohort.

        Returns:
            The text; empty where the stage has not finished the case.
        """
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        return "" if stamp is None else stamp.digest

    def stamped(self, stage: str, case_id: str | None = None) -> str:
        """Return the fingerprint with which a stage has finished a case.

        Args:
            stage: name of the stage.
            case_id: id of the case; None: the whole cohort.

        Returns:
            The fingerprint; empty where the stage has not finished the case.
        """
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        return "" if stamp is None else stamp.fingerprint

    def register_correction(self, case_id: str, *files: Path) -> None:
        """Register label maps of a case that were corrected by hand, so that they are not taken for damaged results.

        Args:
            case_id: the case.
            files: the maps, in the run or where they were imported from.
        """
        known = self._registered(case_id)
        write_json(self._registry_path(case_id), sorted(known | {content_digest(real_path(file)) for file in files}))

    def set_aside(self, case_id: str, result: Path) -> Path | None:
        """Move a repaired label map that is not the one of the stamp to OUT/run/withdrawn, before it is written again.

        It may be a correction by hand, which is never lost without a warning.

        Args:
            case_id: id of the case.
            result: path of the repaired label map.

        Returns:
            The moved file where there is no stamp, for `resolve_set_aside`: a process that was killed between a result
            and its stamp leaves one. Otherwise None.
        """
        if not os.path.lexists(result):
            return None
        stamp = Stamp.read(self._stamp_path(FUSE, case_id))
        name = f"labels/{result.name}"
        if stamp is not None and name in stamp.files and self._matches(result, {stamp.files[name]}):
            return None
        target = self._withdraw(result)
        if stamp is None:
            return target
        self._warn_of_unknown(result, target)
        return None

    def resolve_set_aside(self, result: Path, moved: Path | None) -> None:
        """Remove the file that `set_aside` returned if the result that was made again is the same; warn otherwise.

        Args:
            result: path of the repaired label map.
            moved: result of `set_aside`.
        """
        if moved is None:
            return
        digest = content_digest(result)
        if self._matches(moved, {digest}):
            for file in files_of(moved):
                file.unlink()
            if moved.is_dir():
                shutil.rmtree(moved)
        else:
            self._warn_of_unknown(result, moved)

    def withdraw(self, kept: Iterable[str]) -> list[Path]:
        """Move the results of all cases but those `kept` from OUT/labels to OUT/run/withdrawn.

        A case that is skipped now, or has been removed, may have been repaired by an earlier run; its old result among
        the new ones would look like one of them.

        Args:
            kept: ids of the cases whose results stay.

        Returns:
            The files, where they are now.
        """
        kept, moved = set(kept), list[Path]()
        for path in sorted((inside(self._root, FUSE) / "done").glob("*.json")):
            if path.stem in kept:
                continue
            stamp = Stamp.read(path)
            for name in stamp.files if stamp is not None else ():
                result = inside(self.labels, Path(name).name)
                if name == f"labels/{result.name}" and os.path.lexists(result):
                    moved.append(self._withdraw(result))
                for extra in (UNCERTAINTY, SEGMENTS):
                    if name == f"{extra}/{result.name}":
                        inside(self.output / extra, result.name).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        return moved

    def check_intact(self, stage: str, case_id: str | None, path: Path) -> None:
        """Check that a file is as a stage wrote it, where the stage has stamped it.

        A file that is missing is an error if a stage has stamped it for others to read. A missing repaired label map is
        none here: whoever reads it reports that.

        Args:
            stage: the stage.
            case_id: the case; None for a file of the whole cohort.
            path: the file.

        Raises:
            DamagedError: if it was changed or removed.
            RunError: if there is a link, a pipe or a device in its place.
        """
        self.check_result(path)
        stamp_path = self._stamp_path(stage, case_id)
        is_there = os.path.lexists(path)
        if not os.path.lexists(stamp_path) or (not is_there and path.parent == self.labels):
            return
        stamp, name = Stamp.read(stamp_path), path.relative_to(self.output).as_posix()
        command = f"heartmend {_COMMANDS.get(stage, stage)}"
        if stamp is None:
            raise DamagedError(f"{stamp_path}: is damaged, so {path.name} cannot be checked; repeat `{command}`")
        if not is_there and name in stamp.files:
            raise DamagedError(f"{path}: is missing; repeat `{command}`, which makes it again")
        expected = {**stamp.files, **stamp.reports}.get(name)
        if not is_there or expected is None or self._matches(path, {expected}):
            return
        if path.parent == self.labels:
            if case_id is not None and self._matches(path, self._registered(case_id)):
                return
            raise DamagedError(
                f"{path}: was changed since `{command}` wrote it, and is no correction that was imported; repeat "
                "`heartmend run`, which moves it to OUT/run/withdrawn and makes it again. Corrections by hand are "
                "registered by `heartmend import`"
            )
        remedy = f"repeat `{command}`, which makes it again"
        if name in stamp.reports:
            remedy = f"no result depends on it; to make it again, remove {stamp_path} and repeat `{command}`"
        raise DamagedError(f"{path}: is damaged: it was changed since `{command}` wrote it; {remedy}")

    def check_result(self, path: Path) -> None:
        """Check that a file of a stage is regular; a repaired label map may also be a folder.

        Args:
            path: the file.

        Raises:
            RunError: if there is a link, a pipe or a device in its place.
        """
        if path.is_symlink() or path.parent != self.labels or not path.is_dir():
            check_regular(path)

    def _warn_of_unknown(self, result: Path, target: Path) -> None:
        log.warning(
            "%s was damaged or changed since it was written; it is now %s, and the result is made again. If it was "
            "corrected by hand, register it with `heartmend import`",
            result, target,
        )  # fmt: skip

    def _withdraw(self, path: Path) -> Path:
        """Move a label map to OUT/run/withdrawn, under a name that is free; returns the new path."""
        folder, number, prefix = self._folder(WITHDRAWN), 1, ""
        files = [path] if path.is_symlink() or path.is_dir() else files_of(path)
        while any(os.path.lexists(inside(folder, f"{prefix}{file.name}")) for file in files):
            number += 1
            prefix = f"{number}-"
        for file in files:
            file.rename(inside(folder, f"{prefix}{file.name}"))
        return inside(folder, f"{prefix}{path.name}")

    def _withdraw_damaged_reports(self, stage: str, case_id: str | None, stamp: Stamp) -> None:
        damaged = [name for name, digest in stamp.reports.items() if not self._is_intact(name, digest, case_id)]
        for name in damaged:
            path, stamp_path = self.output / name, self._stamp_path(stage, case_id)
            moved = f"; it is now {self._withdraw(path)}" if os.path.lexists(path) else ""
            log.warning(
                "%s is missing or damaged%s. No result depends on it; to make it again, remove %s and repeat this",
                path, moved, stamp_path,
            )  # fmt: skip
        if damaged:
            reports = {name: digest for name, digest in stamp.reports.items() if name not in damaged}
            replace(stamp, reports=reports).write(self._stamp_path(stage, case_id))

    def _stamp_path(self, stage: str, case_id: str | None) -> Path:
        # The stamps of cases have a folder of their own, so no case id can be taken for the cohort's.
        if case_id is None:
            return inside(inside(self._root, stage), "done.json")
        return inside(inside(inside(self._root, stage), "done"), f"{case_id}.json")

    def _registry_path(self, case_id: str) -> Path:
        return self._case_path(REVIEW, case_id, ".corrections.json")

    def _registered(self, case_id: str) -> set[str]:
        """The digests of the label maps of a case that were corrected by hand."""
        path = self._registry_path(case_id)
        if not os.path.lexists(path):
            return set()
        found = read_json(path)
        if not isinstance(found, list):
            raise RunError(f"{path}: is damaged; import the corrected label map again")
        return {str(digest) for digest in found}

    def _matches(self, path: Path, digests: set[str]) -> bool:
        try:
            return content_digest(path) in digests
        except (OSError, RunError):
            return False

    def _is_intact(self, name: str, digest: str, case_id: str | None) -> bool:
        """Check a file of a stamp; a stamp can be damaged too, so its names must not lead anywhere else."""
        try:
            folder = self.output
            for part in (parts := name.split("/"))[:-1]:
                folder = inside(folder, part)
            path = inside(folder, parts[-1])
            registered = self._registered(case_id) if path.parent == self.labels and case_id is not None else set()
        except RunError:
            return False
        return self._matches(path, {digest} | registered)
