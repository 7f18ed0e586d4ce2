"""Files to arrays and back: volumes, label maps, data sets, tables, meshes, colour tables."""
