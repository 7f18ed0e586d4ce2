"""Anatomies as data: structures, their priority, and the parameters of the anatomical rules."""
