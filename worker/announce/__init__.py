"""
After completion: what changed, the export, then the mails.

A mail waits until its run's export is stored or given up, so both are claimed here in turn; what changed since the run
before is counted under the export's claim. A store or a mail server at fault closes its half for this bell instead of
burning through everything that is due.
"""

from worker.announce.bell import announce, due, rescue

__all__ = ["announce", "due", "rescue"]
