"""Phantom hearts with known truth: label maps, contrast CTs, and label maps with known corruptions."""
