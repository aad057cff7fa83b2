"""``python -m api``: the public application on WEB_PORT, the internal one on INTERNAL_PORT."""

import sys

from api import internal, serving
from api.app import create
from worker import log, settings
from worker.errors import InvalidSetting

SENTENCE = "python -m api takes no arguments; settings are environment variables, as worker/settings.py lists them."


def main(arguments: list[str]) -> int:
    """Serve until told to stop; 2 when it cannot start."""
    if arguments:
        asked = arguments in (["--help"], ["-h"])
        (sys.stdout if asked else sys.stderr).write(f"{SENTENCE}\n")
        return 0 if asked else 2
    try:
        current = settings.current()
        log.configure(current.log_format, current.log_level)
        public = create()
        serving.serve(public, internal.create(public.state.readiness))
    except InvalidSetting as error:
        sys.stderr.write(f"{error}.\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
