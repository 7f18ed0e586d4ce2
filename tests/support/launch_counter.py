"""Count of the operations of a fit that start a kernel on a device, and of the reads for which the host waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

READ = torch.ops.aten._local_scalar_dense.default
COPY = torch.ops.aten._to_copy.default


class LaunchCounter(TorchDispatchMode):
    """Counts operations on simulated tensors. A read gives zeros, where a simulated tensor would raise an error.

    Views and allocations start no kernel. An operation may consist of several kernels, so the count is a lower bound.

    Attributes:
        launches: number of operations by name.
        waits: number of reads by name: of a number, or of a tensor that is copied to the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is READ or (func is COPY and _is_read(args[0], kwargs.get("device"))):
            self.waits[func.__name__] += 1
            with unset_fake_temporarily():
                return 0.0 if func is READ else torch.zeros(args[0].shape)
        if args and isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():  # What was read is on the host.
                return func(*args, **kwargs)
        if _starts_kernel(func):
            self.launches[func.__name__] += 1
        return func(*args, **kwargs)


def _is_read(tensor: Tensor, device: torch.device | None) -> bool:
    return device is not None and device.type == "cpu" and tensor.device.type != "cpu"


def _starts_kernel(func: Any) -> bool:
    results = func._schema.returns
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in results)
    name = func._schema.name
    return name.startswith("aten::") and not is_view and not name.startswith(("aten::empty", "aten::new_empty"))
