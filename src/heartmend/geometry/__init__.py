"""Arrays in millimetres: grids, boxes, components, skeletons, distance maps, meshes. No files, no torch."""
