"""Latent codes of a cohort, by case id: the order of a list never exchanges patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from heartmend.errors import ConfigError
from heartmend.models.base import Codes


class CodeBook(nn.Module):
    """Codes of a cohort.

    Attributes:
        ids: case ids, in the order of the first axis.
        values: for each name one tensor whose first axis is the case.

    Example:
        >>> codes = CodeBook(["001", "002"], {"latent": torch.tensor([[1.0, 2.0], [3.0, 4.0]])})
        >>> codes.of(["002"])["latent"].tolist()
        [[3.0, 4.0]]
    """

    def __init__(self, ids: Sequence[str], codes: Codes) -> None:
        """Create the book.

        Args:
            ids: case ids.
            codes: for each name one tensor whose first axis is the case, in the order of `ids`.

        Raises:
            ConfigError: if an id is repeated, or the number of codes is not that of the ids.
        """
        super().__init__()
        if len(set(ids)) != len(ids):
            raise ConfigError("a case id is repeated; each case has one code")
        if any(len(code) != len(ids) for code in codes.values()):
            raise ConfigError(f"there are {len(ids)} case ids, but codes of {[len(c) for c in codes.values()]} cases")
        self.ids = tuple(ids)
        self._row = {id: row for row, id in enumerate(self.ids)}
        self.values = _parameters(codes)

    def of(self, ids: Iterable[str]) -> dict[str, Tensor]:
        """Return the codes of some cases.

        Args:
            ids: case ids.

        Returns:
            For each name the codes in the order of `ids`.

        Raises:
            ConfigError: if a case has no code.
        """
        rows = []
        for id in ids:
            if id not in self._row:
                raise ConfigError(f"case {id} has no code; it was not part of the fit")
            rows.append(self._row[id])
        return self.at(torch.tensor(rows, device=next(iter(self.values.values())).device))

    def at(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the codes of some rows of the book.

        Args:
            rows: (b,) int64.

        Returns:
            The codes of these rows, by name.
        """
        return {name: code[rows] for name, code in self.values.items()}

    def replace(self, codes: Mapping[str, Tensor]) -> None:
        """Replace all codes by other ones of the same cases, for example of a finer resolution.

        Args:
            codes: the new codes of all cases, by name.
        """
        self.values = _parameters(codes)


def _parameters(codes: Codes) -> nn.ParameterDict:
    # Integer codes, such as slots, have no gradient.
    parts = {name: nn.Parameter(code.detach(), code.is_floating_point()) for name, code in codes.items()}
    return nn.ParameterDict(parts)
