"""Sample data and sample audiences: believable, made from a seed, with no real person in them."""

from local.sample.audiences import Definition, definitions
from local.sample.data import Sizes, build, dates, grow, stands

__all__ = ["Definition", "Sizes", "build", "dates", "definitions", "grow", "stands"]
