"""Voxels classified from their neighbourhood, for structures without a shared shape."""
