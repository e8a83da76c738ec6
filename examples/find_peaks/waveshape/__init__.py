"""The shape of the cycles of a rhythm: a private package that the tasks of this example import."""

from waveshape.extrema import find_extrema, zero_crossings
from waveshape.filt import band_pass, low_pass

__all__ = ["band_pass", "find_extrema", "low_pass", "zero_crossings"]
