"""Postgres: rules as immutable versions, plans, leases, progress, holds and the audit log."""

from headrace.store.api_keys import ApiKey
from headrace.store.audit import Verdict
from headrace.store.connection import StoreDown
from headrace.store.edition import Edition
from headrace.store.history import History
from headrace.store.holds import Hold
from headrace.store.leases import Lease
from headrace.store.outcome import Applied, Drafted
from headrace.store.patience import SERVICE_SECONDS
from headrace.store.plans import Execution, StoredPlan
from headrace.store.progress import Kind, Progress
from headrace.store.receipts import Receipt
from headrace.store.sources import Source
from headrace.store.store import Store
from headrace.store.streams import StoredStream
from headrace.store.versions import Created, StoredVersion

__all__ = [
    "SERVICE_SECONDS",
    "ApiKey",
    "Applied",
    "Created",
    "Drafted",
    "Edition",
    "Execution",
    "History",
    "Hold",
    "Kind",
    "Lease",
    "Progress",
    "Receipt",
    "Source",
    "Store",
    "StoreDown",
    "StoredPlan",
    "StoredStream",
    "StoredVersion",
    "Verdict",
]
