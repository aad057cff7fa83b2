"""The pages that mails link to: download and unsubscribe."""

from fastapi import APIRouter

router = APIRouter()
