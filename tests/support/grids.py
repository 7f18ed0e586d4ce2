"""Random grids with all properties of real files: flipped, permuted, oblique, anisotropic, at any origin."""

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from heartmend.geometry.grid import Grid


@st.composite
def grids(draw: st.DrawFn, min_size: int = 1, max_size: int = 12, max_tilt_degrees: float = 40) -> Grid:
    shape = draw(st.tuples(*[st.integers(min_size, max_size)] * 3))
    spacing = draw(st.tuples(*[st.sampled_from([0.35, 0.5, 0.9, 1.0, 3.0])] * 3))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    axes = draw(st.permutations(range(3)))
    tilt = draw(st.one_of(st.just(0.0), st.floats(1, max_tilt_degrees)))
    about = np.array(draw(st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, 3), (-1, 1, 0)])), dtype=float)
    rotation = Rotation.from_rotvec(np.radians(tilt) * about / np.linalg.norm(about)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ (np.eye(3)[:, axes] * np.multiply(signs, spacing))
    affine[:3, 3] = draw(st.tuples(*[st.integers(-300, 300)] * 3))
    return Grid(shape, affine)
