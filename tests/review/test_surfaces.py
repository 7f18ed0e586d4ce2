"""Tests of the surfaces of the review page."""

import gzip
import io
import json
import struct

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.review.surfaces import pack_surfaces
from support.hearts import ellipsoid


def test_packed_surfaces_can_be_unpacked() -> None:
    labels = 3 * ellipsoid((20, 20, 20), (9, 9, 9), (6, 6, 6)).astype(np.uint8)
    grid = Grid(labels.shape, np.eye(4))
    stream = io.BytesIO(gzip.decompress(pack_surfaces(labels, np.zeros_like(labels), grid, load_anatomy("heart"))))
    (length,) = struct.unpack("<I", stream.read(4))
    assert length % 4 == 0
    (entry,) = json.loads(stream.read(length))
    assert (entry["structure"], entry["state"]) == (3, "before")
    vertices = np.frombuffer(stream.read(12 * entry["vertices"]), "<f4").reshape(-1, 3)
    faces = np.frombuffer(stream.read(), "<u4").reshape(-1, 3)
    assert len(faces) == entry["faces"] and faces.max() == len(vertices) - 1
    assert abs(np.linalg.norm(vertices - 9, axis=1).mean() - 6) < 0.5
