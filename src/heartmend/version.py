"""The version of Heartmend."""

__version__ = "0.1.0"
