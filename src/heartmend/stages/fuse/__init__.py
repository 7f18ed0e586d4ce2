"""fuse: from the distance maps of a case to one label map that obeys the anatomy, with a log of every change."""
