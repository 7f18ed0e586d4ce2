"""Model card: a description of a model in Markdown, for its users."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from heartmend.version import __version__

if TYPE_CHECKING:
    from heartmend.models.heart_model import HeartModel


def model_card(model: HeartModel) -> str:
    """Write the card of a model.

    Args:
        model: the model.

    Returns:
        The card in Markdown.
    """
    codes = model.codes.values
    shared = sum(weight.numel() for weight in model.shape.parameters())
    own = sum(int((code != 0).sum()) for code in codes.values()) // max(len(model.codes.ids), 1)
    dice = model.metadata.get("dice", {})
    rows = "\n".join(
        f"| {s.id} | {s.name} | {model.thresholds.get(s.name, 0.5):.2f} | "
        f"{f'{dice[s.name]:.3f}' if s.name in dice else '-'} |"
        for s in model.anatomy.structures
        if s.name in model.shape.heads
    )
    spacings = sorted(min(roi.grid.spacing_mm) for roi in model.frames.values())
    extent = f"{spacings[0]:.2f} to {spacings[-1]:.2f} mm" if spacings else "unknown spacing"
    origin = model.metadata.get("source")
    made_by = "`benchmarks/make_prior.py`" if origin else "`heartmend unify`"
    cases = len(model.codes.ids)
    data = f"The repaired label maps of {cases} cases (voxels of {extent}); neither images nor\nground truth."
    if origin:
        data = (
            f"{origin} of the {model.metadata.get('library')}\n({model.metadata.get('licence')}), as a label map with "
            f"voxels of {extent}. The venae cavae\nare those of a phantom that was deformed to it."
        )
    thin = [f"{name} {calibre.mean_mm:.2f} mm" for name, calibre in model.calibres.items()]
    return f"""\
{_front_matter(model)}
# Model card: {model.anatomy.title or model.anatomy.name}, {len(model.codes.ids)} cases

Created by Heartmend {__version__}, {made_by}.

**Model.** One implicit function with {len(model.shape.heads)} heads, and a latent code for each case. For a case's code
and a point it predicts the signed distance to each structure in mm, positive inside. The probability of being inside is
sigmoid(distance / 0.25 mm). It represents every heart of the data set, at any resolution.

**Training data.** {data} The model has {shared:,} parameters that all cases share, and about
{own:,} values in the code of each case.

| id | structure | threshold | Dice on the training maps |
|---|---|---|---|
{rows}

Priority of the structures where they overlap: {", ".join(model.anatomy.priority)}.
{f"Mean radius of thin vessels: {', '.join(thin)}." if thin else ""}

**Use.** `heartmend render` (label maps at any resolution), `heartmend mesh` (surfaces), `heartmend embed` (codes for
new patients, and repair of their label maps), `heartmend population` (mean, modes, interpolation between two hearts,
outliers). In Python: `heartmend.load_model(path)`.

**Files.** `model.safetensors`: all numbers, quantised; the first axis of the codes is the case. `model.json`: case ids
in that order, the settings of the shape, anatomy, thresholds, the unit frame of each case (its box on the original
grid), quantisation steps.

**Limitations.** The model cannot represent a heart that is very different from the training data. It contains no image
information, and label errors that most training maps share. Details (above all thin vessels) belong to each case: they
fade when two cases are interpolated. It is not a medical device and must not be used for diagnosis or treatment. The
file contains case ids and grids: check them before you share it.
"""


def _front_matter(model: HeartModel) -> str:
    """The head of a card as Hugging Face reads it: YAML between two lines of dashes.

    The licence is not stated: it depends on that of the label maps.
    """
    dice = {name: round(float(value), 4) for name, value in model.metadata.get("dice", {}).items()}
    tags = ["medical", "cardiac-ct", "segmentation", "implicit-neural-representation", "shape-model"]
    metrics = [{"type": "dice", "name": f"Dice with the training maps, {name}", "value": v} for name, v in dice.items()]
    title = model.anatomy.title or model.anatomy.name
    result = {
        "task": {"type": "image-segmentation"},
        "dataset": {"type": "label-maps", "name": f"{len(model.codes.ids)} repaired label maps"},
        "metrics": metrics,
    }
    fields: dict[str, object] = {
        "library_name": "heartmend", "pipeline_tag": "image-segmentation", "license": "other",
        "license_name": "that-of-the-training-data", "tags": tags,
        "model-index": [{"name": title, "results": [result] if metrics else []}],
    }  # fmt: skip
    # JSON is YAML: no other characters are special in it.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(("---", *lines, "---"))
