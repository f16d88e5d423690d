"""Segment's own library for Python: each of its calls, in batches of its own thread."""

import sys
from datetime import UTC, datetime

import segment.analytics as analytics

analytics.host, analytics.write_key = sys.argv[1:3]
analytics.gzip = True
failures = []
analytics.on_error = lambda error, items: failures.append(error)
now = datetime.now(UTC)
analytics.identify("bob", {"country": "FR"}, anonymous_id="visitor-3", timestamp=now)
analytics.track("bob", "purchase", {"amount": 5}, timestamp=now)
analytics.page("bob", name="Docs", properties={"path": "/docs"}, timestamp=now)
analytics.screen("bob", name="Home", timestamp=now)
analytics.group("bob", "acme", {"plan": "pro"}, timestamp=now)
analytics.alias("visitor-4", "bob", timestamp=now)
analytics.flush()
analytics.join()
sys.exit(f"failed: {failures}" if failures else 0)
