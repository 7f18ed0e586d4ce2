"""The rules of anatomy, applied to one label map."""
