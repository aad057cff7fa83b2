"""What a completed run found: result rows, stats, the CSV."""

from fastapi import APIRouter

router = APIRouter()
