"""The model of a whole data set: one function and a code for each heart, as a file that others can use."""

from heartmend.models.archive import load_heart_model, rounded, rounded_template, save_heart_model
from heartmend.models.decide import choose_thresholds, decide, margin_mm, probability
from heartmend.models.heart_model import Heart, HeartModel, fields_on, labels_on

__all__ = [
    "Heart",
    "HeartModel",
    "choose_thresholds",
    "decide",
    "fields_on",
    "labels_on",
    "load_heart_model",
    "margin_mm",
    "probability",
    "rounded",
    "rounded_template",
    "save_heart_model",
]
