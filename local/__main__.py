"""``python -m local up``: start every local server, print the environment, stay until Ctrl-C."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from local.environment import write
from local.process import StartFailed
from local.servers import USUAL, Servers


def main() -> int:
    """Read the command line and do what it says; 1 when a server cannot start."""
    options = _options()
    servers = Servers(
        options.folder,
        only=USUAL | ({"storage"} if options.s3 else set()),
        given=os.environ if options.given else None,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with servers:
            _show(servers)
            signal.pause()
    except StartFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The data stays for the next start.", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local", description="Local servers without containers.")
    up = parser.add_subparsers(required=True, metavar="up").add_parser("up", help="start them and stay until Ctrl-C")
    up.add_argument("--folder", type=Path, default=Path(".local"), help="where their data lies (.local)")
    up.add_argument("--s3", action="store_true", help="an S3-compatible store too; files go to a folder otherwise")
    up.add_argument("--given", action="store_true", help="use the servers that DATABASE_URL, REDIS_URL … already name")
    return parser.parse_args()


def _show(servers: Servers) -> None:
    """Print the environment as lines a shell takes, keep them in a file, and say how to use it."""
    file = servers.folder / "environment"
    lines = write(file, servers.environment())
    print("\n".join(lines), flush=True)
    print(f"# In another terminal: . {shlex.quote(str(file))}\n# Mails: {servers.mailbox}", file=sys.stderr)
    print("# Ctrl-C stops the servers and keeps their data.", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
