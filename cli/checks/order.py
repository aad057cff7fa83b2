"""All checks."""

from collections.abc import Callable, Mapping
from typing import Final

from cli.checks import clocks, servers, work
from cli.checks.verdict import Verdict

CHECKS: Final[Mapping[str, Callable[[], Verdict]]] = {
    "settings": servers.check_settings,
    "postgres": servers.check_postgres,
    "clickhouse": servers.check_clickhouse,
    "data": work.check_data,
    "redis": servers.check_redis,
    "mail": servers.check_mail,
    "storage": servers.check_storage,
    "workers": work.check_workers,
    "leases": work.check_leases,
    "ticks": work.check_ticks,
    "clocks": clocks.check_clocks,
}
"""In the order to mend them."""
