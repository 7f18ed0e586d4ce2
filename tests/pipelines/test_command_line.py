"""Tests of the command line of a request."""

from pathlib import Path

from heartmend.pipelines.command_line import command_line
from heartmend.pipelines.config import load_config
from heartmend.pipelines.embed import EmbedRequest
from heartmend.pipelines.run import Request


def test_options_with_their_default_are_left_out() -> None:
    request = Request(Path("labels"), Path("out"), images=Path("cts"), structures=("LA", "LV"), workers=2, resume=False)
    words = command_line("run", request, load_config("fast"))
    assert " ".join(words) == (
        "heartmend run labels --output out --images cts --structures LA,LV --workers 2 --no-resume --preset fast"
    )
    assert command_line("embed", EmbedRequest(Path("model.zip"), Path("labels"), Path("out"))) == (
        "heartmend", "embed", "model.zip", "labels", "--output", "out",
    )  # fmt: skip


def test_settings_and_tables_that_are_no_file_of_the_request() -> None:
    config = load_config("mend")
    far = config.model_copy(update={"prepare": config.prepare.model_copy(update={"keep_far_components": True})})
    own = config.model_copy(update={"seed": config.seed + 1})
    request = Request(Path("labels"), Path("out"), ids={205: "Myocardium"})
    assert command_line("run", request, far)[-3:] == ("--ids", "TABLE", "--keep-far-components")
    assert command_line("run", request, own)[-2:] == ("--config", "FILE")
