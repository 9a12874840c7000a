"""How large a phone shows the letters of a figure."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text

PHONE = 360
"""CSS pixels: the width of a phone's screen less the margins of a page."""


def on_a_phone(figure: Figure) -> float:
    """Height of the smallest letters in pixels where the figure is as wide as a phone's page."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    smallest = min(text.get_fontsize() for text in texts)
    return smallest * min(1, PHONE / (72 * figure.get_tightbbox().width))
