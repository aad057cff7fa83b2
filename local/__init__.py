"""Servers from wheels for development, demo and tests; the demo itself."""
