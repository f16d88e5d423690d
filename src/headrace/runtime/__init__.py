"""What Postgres says, made true: publishing rules, and keeping the streaming job at it."""

from headrace.runtime.publication import JOB, Publication, keep_drafts, publish
from headrace.runtime.supervisor import Timings, supervise
from headrace.runtime.versions import activate, retire, roll_back

__all__ = [
    "JOB",
    "Publication",
    "Timings",
    "activate",
    "keep_drafts",
    "publish",
    "retire",
    "roll_back",
    "supervise",
]
