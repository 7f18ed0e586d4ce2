"""Template shape: one heart shared by all cases, and a smooth deformation per case."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from heartmend.models.base import Codes, Shape
from heartmend.models.feature_table import cell_centres, read_table, resample_table
from heartmend.models.splines import bending_energy, on_lattice, refine_controls, spline_weights

FIELD_SIDE = 40
"""Largest side of the lattice on which the deformation is evaluated; between its cells it is interpolated linearly."""
CELLS_PER_INTERVAL = 40 / 9
"""Cells of that lattice for each interval between control points."""


class TemplateShape(Shape):
    """Deformable template F(z, p) = T(A p + b + u(p)).

    T is a table of signed distances in mm that all cases share; A and b are the case's affine map and u its smooth
    field, a cubic B-spline, which together are its code.

    The deformation is too smooth to reproduce voxel-level noise, because its control points are 10 to 20 mm apart; yet
    it follows the anatomy, because all structures of a case deform together and the detail is in T. Deformed implicit
    templates: Zheng et al. (DIT) and Deng et al. (DIF), CVPR 2021; a code that is a small grid, and a cohort that is
    training set and product: Yang et al. (NeAR), MICCAI 2022.

    Attributes:
        table: (side³, heads) float32, the template's signed distances in mm, positive inside.
        side: cells along each side of the table.
        controls: control points along each side of the fields.

    Example:
        >>> shape = TemplateShape(["LV", "RV"], side=16, controls=6)
        >>> codes = shape.new_codes(3)
        >>> shape(torch.zeros(3, 10, 3), codes).shape
        torch.Size([3, 10, 2])
    """

    kind = "template"
    is_distance = True

    def __init__(self, heads: Sequence[str], side: int = 48, controls: int = 6) -> None:
        """Create a template whose distances are all 0.

        Args:
            heads: names of the structures.
            side: cells along each side of the table.
            controls: control points along each side of the fields.
        """
        super().__init__(heads)
        self.side, self.controls = side, controls
        self.table = nn.Parameter(torch.zeros(side**3, len(self.heads)))

    def settings(self) -> dict[str, Any]:
        """Return the arguments that construct this shape again.

        Returns:
            The arguments, by name.
        """
        return {"heads": list(self.heads), "side": self.side, "controls": self.controls}

    @property
    def distances_mm(self) -> npt.NDArray[np.float32]:
        """(side, side, side, head) float32: the table as an array on the cells of the template's unit frame."""
        distances: npt.NDArray[np.float32] = self.table.detach().cpu().numpy().reshape(*(self.side,) * 3, -1)
        return distances

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        """Create codes of the identity.

        Args:
            count: number of cases.
            seed: not used; the codes are not random.

        Returns:
            The codes `affine` (count, 3, 4) and `field` (count, 3, controls, controls, controls).
        """
        affine = torch.zeros(count, 3, 4)
        affine[:, :, :3] = torch.eye(3)
        return {"affine": affine, "field": torch.zeros(count, 3, *(self.controls,) * 3)}

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        """Predict signed distances at points of the unit frame.

        Args:
            points: (case, point, 3) unit coordinates.
            codes: codes of these cases.

        Returns:
            (case, point, head) signed distances in mm.
        """
        cases, count, _ = points.shape
        flat = self.to_template_frame(points, codes).reshape(-1, 3)
        return read_table(self.table, flat, self.side).reshape(cases, count, len(self.heads))

    def to_template_frame(self, points: Tensor, codes: Codes) -> Tensor:
        """Map points from each case's unit frame to the template's.

        Args:
            points: (case, point, 3) unit coordinates.
            codes: codes of the same cases.

        Returns:
            (case, point, 3) coordinates in the template's unit frame.
        """
        cases, count, _ = points.shape
        side = min(FIELD_SIDE, math.ceil(CELLS_PER_INTERVAL * (self.controls - 3)))
        weights = spline_weights(cell_centres(side, points.device), self.controls)
        table = on_lattice(codes["field"], weights, weights, weights).reshape(-1, 3)
        first_row = (torch.arange(cases, device=points.device) * side**3).repeat_interleave(count)
        displacement = read_table(table, points.reshape(-1, 3), side, first_row).reshape(cases, count, 3)
        affine = codes["affine"]
        return points @ affine[:, :, :3].transpose(1, 2) + affine[:, None, :, 3] + displacement

    def frame_map(self, code: Codes) -> Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]]:
        """Return the map from the unit frame of a case to the template's, for numpy arrays.

        Args:
            code: code of the case.

        Returns:
            A function of points (n, 3), which returns (n, 3) float32.
        """

        @torch.no_grad()
        def to_frame(points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
            unit = torch.from_numpy(np.asarray(points, np.float32))[None]
            mapped: npt.NDArray[np.floating] = self.to_template_frame(unit, code)[0].numpy()
            return mapped

        return to_frame

    def regularisation(self, codes: Codes) -> Tensor:
        """Compute the bending energy of the fields; affine maps are not penalised.

        Args:
            codes: codes of some cases, by name.

        Returns:
            The regularisation, a scalar.
        """
        return bending_energy(codes["field"])

    @torch.no_grad()
    def refine(self, codes: Codes, side: int, controls: int) -> dict[str, Tensor]:
        """Resample the table and the fields to another resolution.

        Args:
            codes: the codes of all cases.
            side: cells along each side of the new table.
            controls: control points along each side of the new fields.

        Returns:
            The codes with the new fields.
        """
        self.table = nn.Parameter(resample_table(self.table.detach(), self.side, side))
        field = codes["field"] if controls == self.controls else refine_controls(codes["field"], controls)
        self.side, self.controls = side, controls
        return {**codes, "field": field.clone()}
