"""Tests of the stage fuse."""

from heartmend.stages.fuse import FuseSettings


def test_images_are_read_for_vessels_and_for_image_edges_only() -> None:
    assert FuseSettings().reads_images
    assert FuseSettings(image_edges=False).reads_images
    assert not FuseSettings(image_edges=False, repair_vessels=False).reads_images
