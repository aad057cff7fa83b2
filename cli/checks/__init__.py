"""
What doctor looks at: each check asks one thing and returns a verdict.

Nothing said here carries an address, a password or anybody's data.
"""

from cli.checks.clocks import apart
from cli.checks.columns import TABLES, misfits
from cli.checks.order import CHECKS
from cli.checks.verdict import Verdict

__all__ = ["CHECKS", "TABLES", "Verdict", "apart", "misfits"]
