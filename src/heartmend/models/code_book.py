"""What is known of each case, kept by case id: a reordered list never swaps patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from heartmend.errors import ConfigError
from heartmend.models.base import Codes


class CodeBook(nn.Module):
    """The codes of a cohort: for each name one tensor whose first axis is the case, and the ids in that order."""

    def __init__(self, ids: Sequence[str], codes: Codes) -> None:
        super().__init__()
        if len(set(ids)) != len(ids):
            raise ConfigError("each case has one code: the ids hold one twice")
        if any(len(code) != len(ids) for code in codes.values()):
            raise ConfigError(f"{len(ids)} ids do not fit codes of {[len(c) for c in codes.values()]} cases")
        self.ids = tuple(ids)
        self._row = {id: row for row, id in enumerate(self.ids)}
        self.values = _parameters(codes)

    def of(self, ids: Iterable[str]) -> dict[str, Tensor]:
        """The codes of these cases, in the order asked; ConfigError for an id that has none."""
        rows = []
        for id in ids:
            if id not in self._row:
                raise ConfigError(f"no code is kept for case {id}; it was not part of the fit")
            rows.append(self._row[id])
        return self.at(torch.tensor(rows, device=next(iter(self.values.values())).device))

    def at(self, rows: Tensor) -> dict[str, Tensor]:
        """The codes of the cases in these rows."""
        return {name: code[rows] for name, code in self.values.items()}

    def replace(self, codes: Mapping[str, Tensor]) -> None:
        """Go on with other codes of the same cases, such as finer ones."""
        self.values = _parameters(codes)


def _parameters(codes: Codes) -> nn.ParameterDict:
    # What counts or names, such as a slot, has no gradient.
    parts = {name: nn.Parameter(code.detach(), code.is_floating_point()) for name, code in codes.items()}
    return nn.ParameterDict(parts)
