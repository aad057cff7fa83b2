"""Whether this process is alive and ready."""

from fastapi import APIRouter

router = APIRouter()
