"""Files of a fit: its checkpoint is loaded only if its stamp is that of the fit."""

import os
import sys
from pathlib import Path

import pytest
import torch

from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.training.checkpoint import save_fit
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase
from heartmend.training.training_log import (
    ChainedTrainingLog,
    CheckpointFiles,
    TrainingFiles,
    TrainingLog,
    resume_or_start,
)
from support.hearts import HEADS, samples_of, small_heart

PHASES = (Phase(steps=4, code_lr=0.01, shape_lr=1e-3, loss="bce"),)


def new_fit() -> Fit:
    torch.manual_seed(0)
    shape = DecoderShape(tuple(HEADS), 4)
    sampler = PointSampler([samples_of("a", small_heart(1), list(HEADS.values()))], torch.device("cpu"))
    return Fit(shape, CodeBook(["a"], shape.new_codes(1)), sampler, PHASES, points=64)


def test_a_checkpoint_is_loaded_only_if_its_stamp_is_the_same(tmp_path: Path) -> None:
    files = TrainingFiles(*(tmp_path / name for name in ("c.safetensors", "c.json", "best", "log.csv", "board")))
    files.best_model.write_text("model of an earlier fit")
    fit = new_fit()
    assert not resume_or_start(fit, files, "one")
    assert not files.best_model.exists()
    assert files.read_stamp() == "one"
    fit.position.step = 3
    save_fit(files.checkpoint, fit)
    again = new_fit()
    assert resume_or_start(again, files, "one")
    assert again.steps_done == 3
    assert not resume_or_start(new_fit(), files, "other")
    assert not files.checkpoint.exists()
    files.delete()
    assert files.read_stamp() is None


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are not UTF-8")
def test_a_folder_whose_name_is_no_utf_8_has_a_log_without_tensorboard(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    files = TrainingFiles(*(folder / name for name in ("c.safetensors", "c.json", "best", "log.csv", "board")))
    fit = new_fit()
    with TrainingLog(files, 0, list(HEADS), lambda _: {"a": [0.5]}, None, fit) as log:
        fit.run(log)
    assert fit.done
    assert len(files.log_csv.read_text().splitlines()) > 1, "the heading and a step"
    assert not files.tensorboard.exists()


def test_steps_of_successive_fits_are_counted_together(tmp_path: Path) -> None:
    steps: list[Step] = []
    fit = new_fit()
    log = ChainedTrainingLog("stamp", 0, lambda step, _: steps.append(step), fit.ranks)
    files = CheckpointFiles(tmp_path / "a.safetensors", tmp_path / "a.json")
    log.run(fit, "shape", files, steps_before=10, steps_after=5)
    assert [(step.number, step.total) for step in steps] == [(14, 19)]
    again = new_fit()
    log.run(again, "shape", files, steps_before=10, steps_after=5)
    assert again.done and len(steps) == 1, "a finished fit is loaded from its checkpoint"
