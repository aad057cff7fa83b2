"""The page of a day: what happened, read in one moment, and drawn for people."""

from worker.report.page import render
from worker.report.read import Day, Notable, Slot, Trouble, read

__all__ = ["Day", "Notable", "Slot", "Trouble", "read", "render"]
