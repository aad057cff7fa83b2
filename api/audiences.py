"""Saved audiences: create, list, read, change, delete, validate."""

from fastapi import APIRouter

router = APIRouter()
