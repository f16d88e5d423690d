"""What Postgres says, made true: publishing rules, and keeping the streaming job at it."""

from headrace.runtime.publication import JOB, Publication, publish
from headrace.runtime.supervisor import Timings, supervise

__all__ = ["JOB", "Publication", "Timings", "publish", "supervise"]
