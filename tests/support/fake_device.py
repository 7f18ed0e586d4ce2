"""Steps of every kind of fit on a simulated device, as `python -m support.fake_device`.

A FakeTensor has a shape and a device but no values. Two devices in one operation, and every value that is needed on
the host, raise an error there; on a GPU they are errors or waits. Prints the operations of a step that start a kernel,
and the reads of a fit of several steps, as JSON.
"""

import contextlib
import dataclasses
import json
import sys
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
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.schedule import TEMPLATE_PHASES, Phase
from support.hearts import HEADS, samples_of, small_hearts
from support.launch_counter import LaunchCounter

CPU = torch.device("cpu")
PLAIN = Phase(steps=3, code_lr=0.01, shape_lr=0.01, loss="dice_focal", regularisation=1e-4)
JOINT = Phase(steps=3, code_lr=0.01, shape_lr=0.01, loss="joint")
T = TypeVar("T")


class SimulatedDevice:
    """The device, and conversions to it."""

    def __init__(self) -> None:
        _setup_privateuseone_for_python_backend("gpu")
        self.mode, self.device = FakeTensorMode(), torch.device("gpu")

    def tensor(self, value: Tensor) -> Tensor:
        with self.mode:
            return torch.empty(value.shape, dtype=value.dtype, device=self.device)

    def dataclass(self, instance: T) -> T:
        """Return a dataclass with its tensors on the device."""
        fields = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}  # type: ignore[arg-type]
        moved = {name: self.tensor(value) for name, value in fields.items() if isinstance(value, Tensor)}
        return dataclasses.replace(instance, **moved)  # type: ignore[type-var]

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
    """The simulated device has no generator of its own."""

    def __init__(self, device: object = "cpu") -> None: ...

    def manual_seed(self, seed: int) -> "Generator":
        return self


def disable_generators() -> None:
    """Replace random generators and autocast, which the simulated device does not have."""
    for name in ("rand", "randn", "randperm"):
        draw = getattr(torch, name)
        setattr(torch, name, lambda *sizes, generator=None, draw=draw, **rest: draw(*sizes, **rest))
    torch.Generator, torch.autocast = Generator, lambda *_, **__: contextlib.nullcontext()  # type: ignore[assignment,misc]


class Reports:
    """Observer that keeps the numbers of the reported steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_step(self, step: Step) -> None:
        self.steps.append(step.number)

    def on_checkpoint(self, fit: Fit) -> None: ...

    def on_memory_halved(self, points: int) -> None: ...


def make_fit(device: SimulatedDevice, shape: Shape, points: PointSampler, phases: Sequence[Phase], **more: Any) -> Fit:
    """Make a fit on the device."""
    ids = [heart.case_id for heart in small_hearts()]
    codes = device.module(CodeBook(ids, shape.new_codes(len(ids), 0)))
    shape = device.module(shape)
    with device.mode:
        return Fit(shape, codes, points, phases, cases_per_step=2, points=200, **more)


def step(
    device: SimulatedDevice, shape: Shape, points: PointSampler, phases: Sequence[Phase], **more: Any
) -> dict[str, int]:
    """Run three steps of each phase; count the operations of the first, of one like most, and of one with a report."""
    launches = {"first": 0, "step": 0, "report": 0}
    fit = make_fit(device, shape, points, phases, **more)
    with device.mode:
        for number, phase in enumerate(phases):
            if number:
                fit._enter(phase)
            for name in launches:
                with LaunchCounter() as counter:
                    loss, dice = fit._step(phase, number, name == "report")
                launches[name] = max(launches[name], counter.launches.total())
                assert not counter.waits and loss.device.type == "gpu"
    assert dice is not None and dice.device.type == "gpu"
    return launches


def reads(device: SimulatedDevice, shape: Shape, points: PointSampler, phase: Phase) -> dict[str, Any]:
    """Run all steps of a phase; returns the reported steps, and how often the host waited."""
    fit, reports = make_fit(device, shape, points, [phase]), Reports()
    with device.mode, LaunchCounter() as counter:
        fit.run(reports)
    return {"reports": reports.steps, "waits": dict(counter.waits)}


def main() -> None:
    device, heads = SimulatedDevice(), tuple(HEADS)
    point_set = PointSet.from_cases([samples_of(h.case_id, h.cube, list(HEADS.values())) for h in small_hearts()], CPU)
    joint = JointSampler(point_set, CPU, positives=20)
    disable_generators()
    points = PointSampler(device.dataclass(point_set), device.device)
    joint.point_set, joint.device = points.point_set, device.device
    joint._alphas = device.tensor(joint._alphas)
    joint._teacher_weights = device.tensor(joint._teacher_weights)
    joint._strata = [device.dataclass(stratum) for stratum in joint._strata]
    template = TemplateShape(heads[:1], 12, 5)
    found = {
        "fit": step(device, TemplateShape(heads, 48, 6), points, TEMPLATE_PHASES),
        "unify": step(device, UnifiedShape(heads, template.settings(), side=8), joint, [JOINT]),
        "reads": reads(device, TemplateShape(heads, 12, 6), points, dataclasses.replace(TEMPLATE_PHASES[0], steps=25)),
    }
    step(device, DecoderShape(heads, 8), points, [PLAIN], gradient_accumulation=2, autocast=torch.bfloat16)
    step(device, NearShape(heads), points, [PLAIN], gradient_accumulation=2)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
