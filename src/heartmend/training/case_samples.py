"""One case as a fit sees it: the points that may be drawn, and what is true there. Nothing here reads or measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from heartmend.types import Triple

BAND_MM = 4.0


@dataclass(frozen=True)
class CaseSummary:
    """What must be known of every case wherever the points of a few are held: some hundred bytes.

    centroids: (heads, 3) unit coordinates of the structures, NaN where absent or cut off by the field of view.
    present: (heads,); volumes: (heads,) cells in each structure.
    """

    case_id: str
    side: int
    size_mm: tuple[float, float, float]
    centroids: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    volumes: npt.NDArray[np.float64]

    def of_heads(self, columns: Sequence[int]) -> CaseSummary:
        """The same with some of the structures alone."""
        picked = list(columns)
        return replace(
            self, centroids=self.centroids[picked], present=self.present[picked], volumes=self.volumes[picked]
        )


@dataclass(frozen=True)
class CaseSamples:
    """One case in the unit frame, cut into `counts` cells along its axes.

    voxels: (m,) flat indices of the known cells that may be drawn, the band's first; band: how many lie within
    `BAND_MM` of a boundary; distances: (m, heads) int8, signed distance to the boundary in steps of `STEP_MM`,
    positive inside; far_share: share of the known cells off the band that are listed. centroids: (heads, 3) unit
    coordinates of the structures, NaN where absent or cut off by the field of view. present: (heads,).
    """

    case_id: str
    counts: Triple
    size_mm: tuple[float, float, float]
    voxels: npt.NDArray[np.int32]
    band: int
    distances: npt.NDArray[np.int8]
    far_share: float
    centroids: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]

    @property
    def side(self) -> int:
        """The most cells along an axis."""
        return max(self.counts)

    @property
    def volumes(self) -> npt.NDArray[np.float64]:
        """(heads,) how many cells lie in each structure, estimated from those that are listed."""
        inside = self.distances > 0
        return inside[: self.band].sum(axis=0) + inside[self.band :].sum(axis=0) / max(self.far_share, 1e-6)

    @property
    def outline(self) -> CaseSummary:
        """The case without its points."""
        return CaseSummary(self.case_id, self.side, self.size_mm, self.centroids, self.present, self.volumes)

    def of_heads(self, columns: Sequence[int]) -> CaseSamples:
        """The same points with some of the structures alone."""
        picked = list(columns)
        return replace(
            self, distances=np.ascontiguousarray(self.distances[:, picked]), centroids=self.centroids[picked],
            present=self.present[picked],
        )  # fmt: skip
