"""Settings of the stage `fuse`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from heartmend.repair.fusion import Mode
from heartmend.repair.vessels.calcium import Calcium


class FuseSettings(BaseModel):
    """Settings of `fuse`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "evidence"
    """How a voxel that several structures claim is decided: by evidence and priority, or by priority alone."""
    margin_mm: Annotated[float, Field(strict=True, ge=0, le=100)] = 1.0
    """How much deeper a voxel must be in a structure to belong to it against the priority."""
    repair_vessels: Annotated[bool, Field(strict=True)] = True
    """Repair thin vessels as trees; off: their labels stay unchanged."""
    missing_branches: Annotated[bool, Field(strict=True)] = False
    """Add branches of thin vessels that the label lacks and the CT shows; each is listed for a review."""
    calcium: Calcium = "as_labelled"
    """Whether calcified plaques belong to the label of a thin vessel where a CT shows them: as it has them, "included"
    or "excluded"."""
    image_edges: Annotated[bool, Field(strict=True)] = True
    """Move boundaries to the edges of the CT, where there is one; off: labels alone decide."""
    uncertainty: Annotated[bool, Field(strict=True)] = False
    """Write the probability that the label of a voxel is wrong to OUT/uncertainty, in percent."""
    segments: Annotated[bool, Field(strict=True)] = False
    """Write the segments of the coronary arteries to OUT/segments, with the ids of ImageCAS-X."""

    @property
    def reads_images(self) -> bool:
        """Whether CTs are read at all."""
        return self.repair_vessels or self.image_edges
