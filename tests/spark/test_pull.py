"""Tables whose database has no readable log: read by a watermark, through the whole stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from databases import drop_database, fresh_database
from deployment import Deployment
from headrace.databases.proposal import proposed
from headrace.databases.tables import look_at, parted
from headrace.embedded import Servers, passwords
from headrace.errors import OperatorError
from headrace.jobs import pull as pulling
from headrace.jobs.pull import pull
from headrace.runtime.streams import activate_stream, add_stream
from headrace.settings import Settings
from headrace.spark.session import Session

CATALOG = """\
apiVersion: headrace/v1
kind: Catalog
events:
  order:
    properties: {amount: {type: decimal}}
traits:
  plan: {type: string}
  ltv: {type: decimal}
"""
RULES = {
    "rich": "{all: [{trait: plan, eq: pro}, {trait: ltv, gt: 10}]}",
    "buyers": "{event: order, sum: amount, within: 30 days, gte: 5}",
}


class Shop:
    """A database of customers and orders, each with the instant of its last change."""

    def __init__(self, deployment: Deployment, url: str) -> None:
        self.deployment = deployment
        self.url, self.password = parted(url.replace("+psycopg2", "", 1))
        self.full = url.replace("+psycopg2", "", 1)
        self.notes: list[Any] = []
        self.said = ""

    def run(self, *statements: str) -> None:
        with closing(psycopg2.connect(self.full)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def add(self, table: str, **options: str) -> None:
        settings, store = self.deployment.settings, self.deployment.store
        looked = look_at(self.url, self.password, table)
        stream = proposed(
            looked, self.url, id=table, namespace=settings.namespace, watermark="changed", **options
        ).stream
        add_stream(store, settings, stream, author="test", reason="")
        passwords.keep(settings, table, self.password)
        activate_stream(store, settings, table, version=None, author="test", reason="")

    def pull(self, *streams: str) -> dict[str, Any]:
        """How many rows of each were sent; the streaming job has them to account for."""
        deployment, notes = self.deployment, self.notes
        self.said = ""
        try:
            pull(deployment.spark, deployment.settings, streams=streams, note=notes.append)
        except OperatorError as error:
            self.said = str(error)
        told: dict[str, Any] = notes[-1]["streams"]
        deployment.sent += sum(one.get("rows", 0) for one in told.values())
        return told


@pytest.fixture
def shop(spark: Session, servers: Servers, settings: Settings, tmp_path: Path) -> Iterator[Shop]:
    url = fresh_database(servers)
    with Deployment.opened(spark, settings, tmp_path / "rules") as opened:
        yield Shop(opened, url)
    drop_database(servers, url)


def test_rows_come_by_their_watermark_and_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = shop.deployment
    deployment.publish(RULES, CATALOG)
    changed = "changed timestamptz NOT NULL DEFAULT now()"
    shop.run(
        f"CREATE TABLE customers (id text PRIMARY KEY, plan text, ltv numeric(20, 4), {changed})",
        f"CREATE TABLE orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id text,"
        f" amount numeric(9, 2), at timestamp NOT NULL, {changed})",
        "INSERT INTO customers VALUES ('ann', 'pro', 10.0001), ('bob', 'pro', 10)",
        "INSERT INTO orders (user_id, amount, at) VALUES ('ann', 2.5, now()), ('ann', 2.5, now())",
    )
    shop.add("customers")
    shop.add("orders", type="order", time="at")
    assert {name: one["rows"] for name, one in shop.pull().items()} == {"customers": 2, "orders": 2}
    deployment.run()
    assert deployment.members() == {("rich", "ann"), ("buyers", "ann")}

    # A run that died before it noted how far it was, and rows whose transaction was under way:
    # what is sent again repeats, and an older watermark within the overlap is still found.
    shop.run(
        "UPDATE customers SET plan = 'free', changed = now() WHERE id = 'ann'",
        "INSERT INTO customers VALUES ('cem', 'pro', 99, now() - interval '5 minutes')",
    )
    with monkeypatch.context() as patched:
        patched.setattr(deployment.store.__class__, "note_pulled", None)
        told = shop.pull("customers")
        assert "trouble" in told["customers"] and "customers: " in shop.said
    deployment.sent += 3
    assert shop.pull("customers")["customers"]["rows"] == 3
    assert shop.said == ""
    assert [row.trouble for row in deployment.store.streams()] == ["", ""]
    deployment.run()
    assert deployment.members() == {("rich", "cem"), ("buyers", "ann")}
    done = {report.header.n: report.counts for report in deployment.reports}
    # ann twice and bob once; then three facts told twice, of which bob's was known.
    assert sum(counts.accepted for counts in done.values()) == 4 + 2
    assert sum(counts.duplicates for counts in done.values()) == 4
    assert sum(counts.quarantined for counts in done.values()) == 0


def test_a_database_that_lets_nobody_in_is_told_of_and_holds_up_no_other(shop: Shop) -> None:
    deployment = shop.deployment
    deployment.publish(RULES, CATALOG)
    changed = "changed timestamptz"
    shop.run(
        f"CREATE TABLE first (id text PRIMARY KEY, plan text, {changed})",
        f"CREATE TABLE second (id text PRIMARY KEY, plan text, {changed})",
        "INSERT INTO second VALUES ('ann', 'pro', now())",
    )
    shop.add("first")
    shop.add("second")
    assert shop.pull() == {"first": {"rows": 0}, "second": shop.notes[-1]["streams"]["second"]}
    passwords.keep(deployment.settings, "first", "wrong")
    told = shop.pull()
    assert "first: cannot read" in shop.said and told["second"]["rows"] == 1
    assert "password authentication failed" in told["first"]["trouble"]
    assert "password authentication failed" in deployment.store.streams()[0].trouble
    with pytest.raises(OperatorError, match="there are: first, second"):
        pulling.pull(deployment.spark, deployment.settings, streams=["third"], note=print)
