"""Records of the fits of a run: shapes, codes, voxel classifiers, logs, and the model of all hearts."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.errors import RunError
from heartmend.io.atomic import write_json, write_text
from heartmend.run_folder.paths import CLASSIFIERS, EMBED, FIT, UNIFY, RunPaths, inside, read_table

if TYPE_CHECKING:
    from heartmend.models.base import Shape
    from heartmend.models.code_book import CodeBook
    from heartmend.models.heart_model import HeartModel
    from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers
    from heartmend.training.training_log import TrainingFiles


class ModelRecords(RunPaths):
    """Records of the fits of a run. torch is imported only where a model is read or written."""

    def training_files(self, stage: str, name: str = "last") -> TrainingFiles:
        """Return the files that a fit writes while it runs. name: of the checkpoint."""
        from heartmend.training.training_log import TrainingFiles

        folder = self._folder(stage)
        return TrainingFiles(
            checkpoint=folder / f"{name}.safetensors", checkpoint_stamp=folder / f"{name}.json",
            best_model=folder / "best.safetensors", log_csv=folder / "log.csv", tensorboard=folder / "tensorboard",
        )  # fmt: skip

    def training_log(self, stage: str = FIT) -> list[dict[str, str]] | None:
        """Read the log of a fit, a row for each report; None where nothing was fitted."""
        path = inside(self._root, stage) / "log.csv"
        if not path.is_file():
            return None
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            return list(csv.DictReader(file))

    def write_validation(self, stage: str, table: Mapping[str, Mapping[str, float]]) -> None:
        """Write the Dice of each structure of each case after a fit."""
        write_json(self._folder(stage) / "validation.json", table)

    def validation(self, stage: str) -> dict[str, dict[str, float]]:
        """Read the Dice of each structure of each case after a fit; empty where there was none."""
        path = inside(self._root, stage) / "validation.json"
        return read_table(path) if path.is_file() else {}

    def write_fitted(self, shape: Shape, codes: CodeBook, stage: str = FIT) -> list[Path]:
        """Write a fitted shape and the codes of its cases; returns the files."""
        from heartmend.training.checkpoint import save_model

        path = self.fitted_path(stage)
        save_model(path, shape, codes)
        return [path]

    def fitted(self, stage: str = FIT) -> tuple[Shape, CodeBook]:
        """Read the fitted shape and the codes of its cases.

        Raises:
            RunError: if nothing was fitted, or the file is damaged.
        """
        from heartmend.training.checkpoint import load_model

        path = self.fitted_path(stage)
        if not path.is_file():
            raise RunError(f"{self.output}: has no fitted shape; run `heartmend fit` first")
        return load_model(path)

    def has_fitted(self) -> bool:
        """Whether a shape was fitted."""
        return self.fitted_path().is_file()

    def fitted_path(self, stage: str = FIT) -> Path:
        """Return the file of the fitted shape and codes of a stage."""
        return self._folder(stage) / "model.safetensors"

    def write_classifiers(self, classifiers: VoxelClassifiers) -> list[Path]:
        """Write the voxel classifiers of a cohort; returns the files."""
        from heartmend.repair.voxel_classifier.classifier_file import save_classifiers

        path = self._folder(CLASSIFIERS) / "model.safetensors"
        save_classifiers(path, classifiers)
        return [path]

    def classifiers(self) -> VoxelClassifiers:
        """Read the voxel classifiers of the cohort.

        Raises:
            RunError: if there are none, or the file is damaged.
        """
        from heartmend.repair.voxel_classifier.classifier_file import load_classifiers

        return load_classifiers(self._folder(CLASSIFIERS) / "model.safetensors")

    def write_model(self, stage: str, model: HeartModel) -> list[Path]:
        """Write the model of all hearts and its card; returns the files. stage: unify or embed."""
        from heartmend.models.model_card import model_card
        from heartmend.models.model_file import save_heart_model

        path, card = self._folder(stage) / "model.zip", self._folder(stage) / "MODEL_CARD.md"
        save_heart_model(path, model)
        write_text(card, model_card(model))
        return [path, card]

    def model(self) -> HeartModel:
        """Read the model of all hearts.

        Raises:
            RunError: if the run is not unified yet.
        """
        from heartmend.models.model_file import load_heart_model

        return load_heart_model(self.model_path())

    def model_path(self) -> Path:
        """Return the file of the model of all hearts, from `unify` or `embed`.

        Raises:
            RunError: if the run is not unified yet.
        """
        found = [path for stage in (UNIFY, EMBED) if (path := inside(self._root, stage) / "model.zip").is_file()]
        if not found:
            raise RunError(f"{self.output}: has no model of its hearts; run `heartmend unify` first")
        return found[0]
