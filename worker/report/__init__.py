"""The page of a day: what happened, read in one moment, and drawn for people."""

from worker.report.day import Day, Notable, Slot, Trouble
from worker.report.page import render
from worker.report.read import read

__all__ = ["Day", "Notable", "Slot", "Trouble", "read", "render"]
