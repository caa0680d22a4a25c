"""The kinds of rows that the world can make."""

from __future__ import annotations

from unified.sources.toybox.context import Maker
from unified.sources.toybox.makers import ask, dense, describe, figures, generate, locate, several, text

ROW_MAKERS: dict[str, Maker] = {
    **describe.MAKERS,
    **ask.MAKERS,
    **locate.MAKERS,
    **dense.MAKERS,
    **generate.MAKERS,
    **several.MAKERS,
    **figures.MAKERS,
    **text.MAKERS,
}
"""Kind of row -> its maker. Every row of a picture also holds its scene graph at `scene`."""
