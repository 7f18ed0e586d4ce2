"""Limits of the settings of implicit shapes."""

# Every limit is several times what a cohort of hearts needs. Above it a file is damaged or hostile, or a setting is a
# mistake, and its tensors would fill the memory.
MIN_SIDE, MAX_TEMPLATE_SIDE, MAX_DETAIL_SIDE = 2, 256, 128
MIN_CONTROLS, MAX_CONTROLS = 4, 64
"""Control points along each side: a cubic spline needs four."""
MAX_CHANNELS, MAX_WIDTH, MAX_CODE_SIZE = 64, 1024, 8192
MAX_HEADS = 254
"""Most heads of a shape: so many structures can an anatomy have."""
