"""Attacks on Heartmend, one module for each kind; `attack.py` runs them."""
