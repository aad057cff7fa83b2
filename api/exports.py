"""Stored exports: made, read, offered."""

from fastapi import APIRouter

router = APIRouter()
