"""Reading and writing of files: label maps, images, meshes, tables, data sets."""
