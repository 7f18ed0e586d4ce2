"""Records of the fits of a run: shapes, codes, voxel classifiers, logs, and the model of all hearts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.errors import RunError
from heartmend.io.atomic import write_json, write_text
from heartmend.io.regular import check_regular, is_regular, read_regular
from heartmend.run_folder.paths import CLASSIFIERS, EMBED, FIT, REFERENCE, UNIFY, inside, read_table
from heartmend.run_folder.stamped_stages import StampedStages

if TYPE_CHECKING:
    from heartmend.models.base import Shape
    from heartmend.models.code_book import CodeBook
    from heartmend.models.heart_model import HeartModel
    from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers
    from heartmend.training.training_log import TrainingFiles


_FITTED: dict[tuple[Path, int, int], tuple[Shape, CodeBook]] = {}
"""The fit that this process has read last, by its file, time and inode: a fit that is made again is another one."""


class ModelRecords(StampedStages):
    """Records of the fits of a run. torch is imported only where a model is read or written."""

    def training_files(self, stage: str, name: str = "last") -> TrainingFiles:
        """Return the files that a fit writes while it runs.

        Args:
            stage: name of the stage.
            name: name of the checkpoint.

        Returns:
            The paths of the files.
        """
        from heartmend.training.training_log import TrainingFiles

        folder = self._folder(stage)
        paths = [inside(folder, f"{name}.safetensors"), inside(folder, f"{name}.json")]
        paths += [inside(folder, file) for file in ("best.safetensors", "log.csv", "tensorboard")]
        # The events of TensorBoard are written into a folder.
        inside(paths[-1], "events")
        return TrainingFiles(
            checkpoint=paths[0], checkpoint_stamp=paths[1], best_model=paths[2], log_csv=paths[3], tensorboard=paths[4]
        )  # fmt: skip

    def training_log(self, stage: str = FIT) -> list[dict[str, str]] | None:
        """Read the log of a fit.

        Args:
            stage: name of the stage.

        Returns:
            A row for each report, column -> value; None where nothing was fitted.

        Raises:
            RunError: if it is damaged.
        """
        path = inside(inside(self._root, stage), "log.csv")
        self.check_intact(stage, None, path)
        if not is_regular(path):
            return None
        return list(csv.DictReader(io.StringIO(read_regular(path).decode(errors="replace"), newline="")))

    def write_validation(self, stage: str, table: Mapping[str, Mapping[str, float]]) -> None:
        """Write the Dice of each structure of each case after a fit.

        Args:
            stage: name of the stage.
            table: case id -> structure -> Dice.
        """
        write_json(inside(self._folder(stage), "validation.json"), table)

    def write_confused_cases(self, case_ids: Iterable[str]) -> Path:
        """Write which cases a fit has placed anew, because their structures are called by the names of others.

        Args:
            case_ids: ids of the cases.

        Returns:
            The file.
        """
        write_json(self._confused_path(), {"cases": list(case_ids)})
        return self._confused_path()

    def confused_cases(self) -> frozenset[str]:
        """Read which cases a fit has placed anew.

        Returns:
            Ids of the cases; empty for a fit without such a record.

        Raises:
            RunError: if it is damaged.
        """
        path = self._confused_path()
        self.check_intact(FIT, None, path)
        return frozenset(map(str, read_table(path).get("cases", []))) if is_regular(path) else frozenset()

    def _confused_path(self) -> Path:
        return inside(self._folder(FIT), "confused.json")

    def fit_reports(self, stage: str = FIT) -> list[Path]:
        """List the files of a fit that are there and that no stage reads: its log, validation and best model.

        Args:
            stage: name of the stage.

        Returns:
            The existing files.
        """
        names = ("validation.json", "log.csv", "best.safetensors")
        return [path for name in names if is_regular(path := inside(self._folder(stage), name))]

    def validation(self, stage: str) -> dict[str, dict[str, float]]:
        """Read the Dice of each structure of each case after a fit.

        Args:
            stage: name of the stage.

        Returns:
            Case id -> structure -> Dice; empty where there was no validation.

        Raises:
            RunError: if it is damaged.
        """
        path = inside(inside(self._root, stage), "validation.json")
        self.check_intact(stage, None, path)
        return read_table(path) if is_regular(path) else {}

    def write_fitted(self, shape: Shape, codes: CodeBook, stage: str = FIT) -> list[Path]:
        """Write a fitted shape and the codes of its cases.

        Args:
            shape: the fitted shape.
            codes: the codes of its cases.
            stage: name of the stage.

        Returns:
            The files that were written.
        """
        from heartmend.training.checkpoint import save_model

        path = self.fitted_path(stage)
        save_model(path, shape, codes)
        return [path]

    def fitted(self, stage: str = FIT) -> tuple[Shape, CodeBook]:
        """Read the fitted shape and the codes of its cases.

        Args:
            stage: name of the stage.

        Returns:
            The shape and the codes.

        Raises:
            RunError: if nothing was fitted, or the file is damaged.
        """
        from heartmend.training.checkpoint import load_shape_and_codes

        path = self.fitted_path(stage)
        self.check_intact(stage, None, path)
        if not is_regular(path):
            raise RunError(f"{self.output}: has no fitted shape; run `heartmend fit` first")
        return load_shape_and_codes(path)

    def fitted_once(self) -> tuple[Shape, CodeBook]:
        """Read the fitted shape and the codes of its cases, unless this process has read the same file before.

        Returns:
            The shape and the codes, which are shared: nobody may change them.

        Raises:
            RunError: if nothing was fitted, or the file is damaged.
        """
        path = self.fitted_path()
        key = (path, path.stat().st_mtime_ns, path.stat().st_ino) if is_regular(path) else (path, 0, 0)
        if key not in _FITTED:
            _FITTED.clear()
            _FITTED[key] = self.fitted()
        return _FITTED[key]

    def has_fitted(self, stage: str = FIT) -> bool:
        """Check whether a shape was fitted.

        Args:
            stage: name of the stage.

        Returns:
            True if its file exists.
        """
        return is_regular(self.fitted_path(stage))

    def fitted_path(self, stage: str = FIT) -> Path:
        """Return the file of the fitted shape and codes of a stage.

        Args:
            stage: name of the stage.

        Returns:
            The path, whether or not the file exists.
        """
        return inside(self._folder(stage), "model.safetensors")

    def forget_reference(self) -> None:
        """Remove the template that is placed in CTs, where there is one."""
        if self.is_stamped(REFERENCE):
            self.forget(REFERENCE)
            for path in (self.fitted_path(REFERENCE), self._misfits_path()):
                path.unlink(missing_ok=True)

    def write_reference_misfits(self, misfits_mm: Mapping[str, float]) -> list[Path]:
        """Write how far the template that is placed in CTs is from the best label maps.

        Args:
            misfits_mm: mean distance of each structure in mm, by name.

        Returns:
            The files that were written.
        """
        path = self._misfits_path()
        write_json(path, dict(misfits_mm))
        return [path]

    def reference_misfits(self) -> dict[str, float]:
        """Read how far the template that is placed in CTs is from the best label maps.

        Returns:
            Mean distance of each structure in mm, by name; empty where there is no such template.

        Raises:
            RunError: if the record is damaged.
        """
        path = self._misfits_path()
        self.check_intact(REFERENCE, None, path)
        table = read_table(path) if is_regular(path) else {}
        return {str(name): float(mm) for name, mm in table.items()}

    def _misfits_path(self) -> Path:
        return inside(inside(self._root, REFERENCE), "misfits.json")

    def write_classifiers(self, classifiers: VoxelClassifiers) -> list[Path]:
        """Write the voxel classifiers of a cohort.

        Args:
            classifiers: the voxel classifiers.

        Returns:
            The files that were written.
        """
        from heartmend.repair.voxel_classifier.classifier_file import save_classifiers

        path = self.fitted_path(CLASSIFIERS)
        save_classifiers(path, classifiers)
        return [path]

    def classifiers(self) -> VoxelClassifiers:
        """Read the voxel classifiers of the cohort.

        Returns:
            The voxel classifiers.

        Raises:
            RunError: if there are none, or the file is damaged.
        """
        from heartmend.repair.voxel_classifier.classifier_file import load_classifiers

        path = self.fitted_path(CLASSIFIERS)
        self.check_intact(CLASSIFIERS, None, path)
        return load_classifiers(path)

    def write_model(self, stage: str, model: HeartModel) -> list[Path]:
        """Write the model of all hearts and its card.

        Args:
            stage: `unify` or `embed`.
            model: the model.

        Returns:
            The files that were written.
        """
        from heartmend.models.model_card import model_card
        from heartmend.models.model_file import save_heart_model

        path, card = (inside(self._folder(stage), name) for name in ("model.zip", "MODEL_CARD.md"))
        save_heart_model(path, model)
        write_text(card, model_card(model))
        return [path, card]

    def model(self) -> HeartModel:
        """Read the model of all hearts.

        Returns:
            The model.

        Raises:
            RunError: if the run is not unified yet.
        """
        from heartmend.models.model_file import load_heart_model

        return load_heart_model(self.model_path())

    def model_path(self) -> Path:
        """Return the file of the model of all hearts, from `unify` or `embed`.

        Returns:
            The path of the file.

        Raises:
            RunError: if the run is not unified yet, or the file is damaged.
        """
        for stage in (UNIFY, EMBED):
            path = inside(inside(self._root, stage), "model.zip")
            check_regular(path)
            if is_regular(path):
                self.check_intact(stage, None, path)
                return path
        raise RunError(f"{self.output}: has no model of its hearts; run `heartmend unify` first")
