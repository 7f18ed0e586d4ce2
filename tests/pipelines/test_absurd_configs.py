"""Files of settings that no run could use: each is one ConfigError when it is loaded, soon and short."""

import os
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from heartmend.errors import ConfigError
from heartmend.pipelines.config import load_config
from heartmend.stages.embed import EmbedSettings
from heartmend.training.schedule import Phase

PHASE = "steps = 10\ncode_lr = 0.01\nshape_lr = 0.1\nside = 32\ncontrols = 6\n"


def phase(table: str = "fit.phases", **changes: str) -> str:
    """One phase with other values."""
    known = dict(line.split(" = ") for line in PHASE.splitlines()) | changes
    return f"[[{table}]]\n" + "".join(f"{key} = {value}\n" for key, value in known.items() if value)


def value(table: str, key: str, text: str) -> str:
    return f"[{table}]\n{key} = {text}\n" if table else f"{key} = {text}\n"


PHASE_VALUES = {
    "steps": ("0", "-1", "1.5", '"10"', "true", "inf", "nan", "10_000_001", "9_000_000_000_000_000_000", "[1]"),
    "code_lr": ("0", "-1", "inf", "nan", "1e9", '"fast"', "true", "[0.1]"),
    "shape_lr": ("-1", "inf", "nan", "1e9", '"x"'),
    "loss": ('"x"', '""', "1", "true", '["dice"]', '"joint"'),
    "tolerance_mm": ("0", "-1", "inf", "nan", "1e6"),
    "regularisation": ("-1", "inf", "nan", "1e9"),
    "band_shares": ("[]", "[1.5]", "[-0.1]", "[nan]", "[inf]", '["x"]', "0.5", f"[{'0.5,' * 101}]"),
    "warm_up": ("1", "-0.1", "2", "nan", "inf"),
    "side": ("0", "1", "-32", "257", "10_000", "32.5", '"32"', "true"),
    "controls": ("0", "3", "65", "33", "-6", "6.5", "nan"),
}
VALUES = {
    ("", "seed"): ("-1", "1.5", '"x"', "true", "nan", "4_294_967_296", "9_000_000_000_000_000_000", "[1]"),
    ("prepare", "resolution"): ("0", "31", "513", "1_000_000", "64.5", '"64"', "true"),
    ("prepare", "margin_voxels"): ("-1", "1001", "nan", "0.5"),
    ("prepare", "repair_visible_errors"): ("1", '"yes"', "2", "[]"),
    ("fit", "shape"): ('"cube"', '""', "1", '["template"]'),
    ("fit", "phases"): ("[]", "1", '"x"', "{}", "[1]"),
    ("fit", "cases_per_step"): ("0", "-1", "10_001", "1_000_000_000_000", "true"),
    ("fit", "points"): ("0", "63", "1_000_000_000_000", "inf", '"many"', "2500.5"),
    ("fit", "gradient_accumulation"): ("0", "10_001", "nan"),
    ("fit", "code_size"): ("0", "8193", "1_000_000_000"),
    ("fit", "precision"): ('"float16"', "32", "true"),
    ("fit", "max_points"): ("0", "99_999", "1e9", "1_000_000_000_000", '"many"'),
    ("fit", "epochs"): ("0", "-1", "100_001", "1_000_000_000_000", "1.5"),
    ("fit", "min_epochs"): ("-1", "100_001", "inf"),
    ("fit", "checkpoint_seconds"): ("-1", "inf", "nan", "1e12", '"x"'),
    ("fit.voxel_classifier", "rounds"): ("0", "101", "1.5"),
    ("fit.voxel_classifier", "examples"): ("999", "1_000_000_000_000"),
    ("fit.voxel_classifier", "passes"): ("0", "1001"),
    ("fit.voxel_classifier", "rate"): ("0", "-1", "inf", "nan", "100"),
    ("refine", "label_weight"): ("-1", "inf", "nan", "1e9", "true"),
    ("fuse", "mode"): ('"x"', "1"),
    ("fuse", "margin_mm"): ("-1", "inf", "nan", "1e6"),
    ("fuse", "repair_vessels"): ("1", '"no"'),
    ("fuse", "image_edges"): ("0", '"off"'),
    ("fuse", "calcium"): ("true", '"yes"'),
    ("unify", "resolution"): ("31", "513", '"x"'),
    ("unify", "cases_per_step"): ("0", "1_000_000"),
    ("unify", "points"): ("63", "1_000_001"),
    ("unify", "positives"): ("9", "1_000_001"),
    ("unify", "side"): ("3", "129", "1_000_000", "80.5"),
    ("unify", "channels"): ("0", "65"),
    ("unify", "width"): ("3", "40_000"),
    ("unify", "error_mm"): ("-1", "nan", "inf", "101"),
    ("unify", "teach"): ("1", '{LA = -1}', "{LA = nan}", '{LA = "x"}', "[1]"),
    ("unify", "epochs"): ("0", "1_000_000"),
    ("unify", "min_epochs"): ("-1", "1_000_000"),
    ("unify", "checkpoint_seconds"): ("-1", "inf"),
}  # fmt: skip
ABSURD = {
    **{f"phase {key} = {text[:20]}": phase(**{key: text}) for key, texts in PHASE_VALUES.items() for text in texts},
    **{
        f"unify {key} = {texts[0][:20]}": phase("unify.phases", **{key: texts[0]})
        for key, texts in PHASE_VALUES.items()
    },
    **{
        f"{table}.{key} = {text[:20]}": value(table, key, text)
        for (table, key), texts in VALUES.items()
        for text in texts
    },
    "a template without side and controls": phase(side="", controls=""),
    "a template without side": phase(side=""),
    "a template without controls": phase(controls=""),
    "a later phase without controls": phase() + phase(controls=""),
    "more controls than cells": phase(side="8", controls="9"),
    "more controls than cells in unify": phase("unify.template_phases", side="8", controls="9"),
    "the joint loss for a template": phase("unify.template_phases", loss='"joint"'),
    "the joint loss for a decoder": '[fit]\nshape = "decoder"\n' + phase(loss='"joint"'),
    "a phase without steps": phase(steps=""),
    "a phase with an unknown key": phase(speed="1"),
    "101 phases": phase() * 101,
    "too many points in a step": "[fit]\npoints = 1_000_000\ncases_per_step = 10_000\n",
    "too many points in a step of unify": "[unify]\npoints = 1_000_000\ncases_per_step = 10_000\n",
    "an unknown table": "[magic]\nx = 1\n",
    "an unknown key": "[fit]\nmagic = 1\n",
    "an unknown key at the top": "magic = 1\n",
    "a table that is a number": "fit = 1\n",
    "a table that is a list": "[[fit]]\npoints = 100\n",
    "a table that is a text": 'unify = "all"\n',
    "20,000 unknown keys": "".join(f"k{n} = 1\n" for n in range(20_000)),
    "a key of 100,000 letters": "k" * 100_000 + " = 1\n",
    "a key with an escape sequence": '"\\u001b[31m" = 1\n',
    "the same key twice": "seed = 1\nseed = 2\n",
    "the same table twice": "[fit]\n[fit]\n",
    "an old key and its new one": "[fit]\naccumulate = 2\ngradient_accumulation = 2\n",
    "old keys with absurd values": phase(code_lr="", code_rate="inf"),
    "lists 100,000 deep": "x = " + "[" * 100_000,
    "lists 200 deep": "x = " + "[" * 200 + "]" * 200,
    "lists 13 deep": "x = " + "[" * 13 + "]" * 13,
    "tables 1,000 deep": "x = " + "{a = " * 1000,
    "a key of 100,000 parts": "a" + ".a" * 100_000 + " = 1\n",
    "a table of 100 parts": "[a" + ".a" * 100 + "]\n",
    "an integer of 5,000 digits": "seed = " + "9" * 5000,
    "an integer of 100,000 hexadecimal digits": "seed = 0x" + "f" * 100_000,
    "a date that does not exist": "seed = 2024-02-31\n",
    "a date": "seed = 2024-02-28\n",
    "half a string": 'seed = "x\n',
    "no TOML": "{}\n",
    "JSON": '{"seed": 1}',
    "two equal signs": "seed = = 3\n",
    "a null character": "seed = 1\0\n",
    "300 kilobytes": "#" * 300_000,
}
NOT_TEXT = {
    "UTF-16": "seed = 1".encode("utf-16"), "Latin-1": "# Müller\n".encode("latin-1"), "zeros": bytes(100),
    "a pickle": b"\x80\x04N.", "a zip archive": b"PK\x03\x04\xff\xfe",
}  # fmt: skip


def error_of(path: Path) -> str:
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_config("mend", path)
    assert time.process_time() - start < 1
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) <= 10
    assert all(len(line) < 400 and line.isprintable() for line in message.splitlines())
    return message


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_settings_are_an_error_when_they_are_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.toml").write_text(ABSURD[name])
    error_of(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", NOT_TEXT)
def test_a_file_that_is_not_text_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.toml").write_bytes(NOT_TEXT[name])
    error_of(tmp_path / "mine.toml")


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "none"):
        error_of(path)


def test_a_message_lists_eight_errors_and_counts_the_others(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("".join(f"k{n} = 1\n" for n in range(20)))
    lines = error_of(tmp_path / "mine.toml").splitlines()
    assert lines[0].endswith("mine.toml: 20 errors:")
    assert lines[1:9] == [f"  - k{n}: Extra inputs are not permitted" for n in range(8)]
    assert lines[9] == "  ... and 12 more"


def test_a_message_contains_the_value_and_the_limit(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        "[fit]\npoints = 1_000_000_000_000\n" + phase("unify.template_phases", side="8", controls="9", steps="3")
    )
    message = error_of(tmp_path / "mine.toml")
    assert "fit.points: Input should be less than or equal to 1000000, not 1000000000000" in message
    assert "unify: template_phases: phase 0: controls is 9; it must be at most side, 8" in message


@pytest.mark.parametrize(
    "settings",
    [
        {"place_phases": ()}, {"points": 0}, {"points": 10**12}, {"resolution": 10**6}, {"error_mm": float("nan")},
        {"complete": "yes"}, {"colour": 1}, {"template_phase": None},
        {"template_phase": Phase(steps=1, code_lr=0.1, shape_lr=0, loss="joint")},
        {"place_phases": (Phase(steps=1, code_lr=0.1, shape_lr=0, loss="joint"),)},
    ],
)  # fmt: skip
def test_absurd_settings_of_embed_are_an_error(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EmbedSettings(**settings)


def test_a_phase_that_is_made_in_python_has_the_same_limits() -> None:
    for key, wrong in (("code_lr", float("inf")), ("loss", "x"), ("band_shares", (2.0,)), ("controls", 3)):
        with pytest.raises(ValueError, match=f"{key} is .*; it must be"):
            Phase(**{"steps": 1, "code_lr": 0.1, "shape_lr": 0.1, key: wrong})
