"""What is counted, for whoever watches: totals of what is over, and how things stand now."""

from worker.figures.count import count
from worker.figures.ended import BOUNDS
from worker.figures.read import Figures, read

__all__ = ["BOUNDS", "Figures", "count", "read"]
