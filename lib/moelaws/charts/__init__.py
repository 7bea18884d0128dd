"""The book's figures. Call `enable()` once in a notebook: it sets the theme and shows charts without a network."""

from moelaws.charts.offline import enable
from moelaws.charts.theme import expert_colour, expert_scale

__all__ = ["enable", "expert_colour", "expert_scale"]
