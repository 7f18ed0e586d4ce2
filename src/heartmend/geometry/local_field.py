"""Fields on a box of a volume: distances to a surface count near that surface only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heartmend.geometry.boxes import Box, full_box, nested_box, relative_box
from heartmend.types import DistanceField, Triple


@dataclass(frozen=True, eq=False)
class LocalField:
    """Signed distances on a box of a volume, which contains the structure; outside the box all is far outside it.

    Attributes:
        values: (x, y, z) float32, positive inside, on the voxels of `box`.
        box: the box in the volume.
        shape: shape of the volume.

    Example:
        >>> field = LocalField(np.ones((2, 1, 1), np.float32), (slice(1, 3), slice(0, 1), slice(0, 1)), (4, 1, 1))
        >>> field.whole(-8.0).ravel().tolist()
        [-8.0, 1.0, 1.0, -8.0]
    """

    values: DistanceField
    box: Box
    shape: Triple

    @classmethod
    def of_whole(cls, values: DistanceField) -> LocalField:
        """Take a field of a whole volume.

        Args:
            values: (x, y, z) float32.

        Returns:
            The field, on the box of all voxels.
        """
        x, y, z = values.shape
        return cls(values, full_box(values.shape), (x, y, z))

    def cropped(self, inner: Box) -> LocalField:
        """Return the field on a smaller box.

        Args:
            inner: the box in the indices of `values`.

        Returns:
            The field there.
        """
        return LocalField(self.values[inner], nested_box(self.box, inner), self.shape)

    def on(self, box: Box, outside: float) -> DistanceField:
        """Return the values on another box of the volume.

        Args:
            box: the box in the volume.
            outside: value where the field is not known.

        Returns:
            (x, y, z) float32.
        """
        found = np.full([s.stop - s.start for s in box], outside, dtype=np.float32)
        x, y, z = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, self.box, strict=True))
        if all(s.start < s.stop for s in (x, y, z)):
            found[relative_box((x, y, z), box)] = self.values[relative_box((x, y, z), self.box)]
        return found

    def whole(self, outside: float) -> DistanceField:
        """Return the values on the whole volume.

        Args:
            outside: value where the field is not known.

        Returns:
            (x, y, z) float32.
        """
        return self.on(full_box(self.shape), outside)
