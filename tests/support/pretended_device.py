"""Steps of every kind of fit, as `python -m support.pretended_device`, on a device that only pretends to be there.

A FakeTensor knows its shape and device and has no values: two devices in one operation, and whatever needs a value on
the host, are errors there, as they are errors or waits on a GPU.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from near_shape import NearShape
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.schedule import TEMPLATE_PHASES, Phase
from support.hearts import HEADS, small_hearts, target_of

CPU = torch.device("cpu")
PLAIN = Phase(steps=3, code_lr=0.01, shape_lr=0.01, loss="dice_focal", regularisation=1e-4)
JOINT = Phase(steps=3, code_lr=0.01, shape_lr=0.01, loss="joint")
T = TypeVar("T")


class Pretended:
    """The device, and what is put onto it."""

    def __init__(self) -> None:
        _setup_privateuseone_for_python_backend("gpu")
        self.mode, self.device = FakeTensorMode(), torch.device("gpu")

    def tensor(self, value: Tensor) -> Tensor:
        with self.mode:
            return torch.empty(value.shape, dtype=value.dtype, device=self.device)

    def holder(self, holder: T) -> T:
        """A dataclass, with its tensors there."""
        fields = {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder)}  # type: ignore[arg-type]
        there = {name: self.tensor(value) for name, value in fields.items() if isinstance(value, Tensor)}
        return dataclasses.replace(holder, **there)  # type: ignore[type-var]

    def module(self, module: nn.Module) -> Any:
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    part._parameters[name] = nn.Parameter(self.tensor(value.detach()), value.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self.tensor(buffer)
        return module


class Generator:
    """A pretended device has none of its own."""

    def __init__(self, device: object = "cpu") -> None: ...

    def manual_seed(self, seed: int) -> "Generator":
        return self


def without_generators() -> None:
    """Nor does it know autocast."""
    for name in ("rand", "randn", "randperm"):
        draw = getattr(torch, name)
        setattr(torch, name, lambda *sizes, generator=None, draw=draw, **rest: draw(*sizes, **rest))
    torch.Generator, torch.autocast = Generator, lambda *_, **__: contextlib.nullcontext()  # type: ignore[assignment,misc]


def step(there: Pretended, shape: Shape, points: PointSampler, phases: Sequence[Phase], **settings: Any) -> None:
    """Two steps of each phase."""
    ids = [heart.case_id for heart in small_hearts()]
    codes = there.module(CodeBook(ids, shape.new_codes(len(ids), 0)))
    shape = there.module(shape)
    with there.mode:
        fit = Fit(shape, codes, points, phases, cases_per_step=2, points=200, **settings)
        for number, phase in enumerate(phases):
            if number:
                fit._enter(phase)
            for _ in range(2):
                loss, dice = fit._step(phase, number, True)
    assert dice is not None and loss.device.type == dice.device.type == "gpu"


def main() -> None:
    there, heads = Pretended(), tuple(HEADS)
    listing = PointSet.of([target_of(h.case_id, h.labels, list(HEADS.values())) for h in small_hearts()], CPU)
    joint = JointSampler(listing, CPU, positives=20)
    without_generators()
    points = PointSampler(there.holder(listing), there.device)
    joint.listing, joint.device = points.listing, there.device
    joint._alphas, joint._teaching = there.tensor(joint._alphas), there.tensor(joint._teaching)
    joint._strata = [there.holder(stratum) for stratum in joint._strata]
    template = TemplateShape(heads[:1], 12, 5)
    step(there, TemplateShape(heads, 48, 6), points, TEMPLATE_PHASES)
    step(there, UnifiedShape(heads, template.settings(), side=8), joint, [JOINT])
    step(there, DecoderShape(heads, 8), points, [PLAIN], gradient_accumulation=2, autocast=torch.bfloat16)
    step(there, NearShape(heads), points, [PLAIN], gradient_accumulation=2)


if __name__ == "__main__":
    main()
