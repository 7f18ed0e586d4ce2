"""Where a fit begins: the middle case as the template, every other case laid onto it by its centroids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from heartmend.learning.align import affine_to, medoid
from heartmend.learning.targets import Target, head_distance_mm
from heartmend.shapes.codes import CodeBook
from heartmend.shapes.tables import resized_table
from heartmend.shapes.template import TemplateShape
from heartmend.types import Labels


def begin_template(
    heads: dict[str, int], targets: Sequence[Target], labels: Sequence[Labels], side: int, controls: int
) -> tuple[TemplateShape, CodeBook]:
    """A template shape that is the medoid's own signed distances, and affine codes that lead each case to it.

    heads: structure name -> id; labels: (n, n, n) of each case in the unit frame. What the middle case got wrong
    is worn away by the others as the table is fitted.
    """
    middle = medoid(targets)
    goal = targets[middle]
    layers = [head_distance_mm(labels[middle], goal.size_mm, id) for id in heads.values()]
    table = torch.from_numpy(np.stack(layers, axis=-1).reshape(-1, len(layers)))
    shape = TemplateShape(tuple(heads), side=side, controls=controls)
    with torch.no_grad():
        shape.table.copy_(resized_table(table, goal.side, side))
    codes = shape.new_codes(len(targets))
    for row, target in enumerate(targets):
        codes["affine"][row] = torch.from_numpy(affine_to(target, goal)).float()
    return shape, CodeBook([t.case_id for t in targets], codes)
