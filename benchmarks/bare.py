"""The least that FastAPI can do, served as the HTTP side is served: what benchmarks/http.py compares with."""

from fastapi import FastAPI

from api import serving
from worker import log, settings


def main() -> None:
    """Serve one route that answers without looking at anything."""
    current = settings.current()
    log.configure(current.log_format, current.log_level)
    app = FastAPI(openapi_url=None)
    app.get("/healthz")(_answer)
    serving.serve(app, FastAPI(openapi_url=None))


def _answer() -> dict[str, bool]:
    """Answer from a thread, as every route of the HTTP side does."""
    return {"alive": True}


if __name__ == "__main__":
    main()
