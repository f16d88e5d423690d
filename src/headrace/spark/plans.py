"""Plans beside the tables that were written under them.

A batch is replayed under the plan its header names, Postgres or not: so a plan is kept here
before its first batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql import SparkSession

from headrace.errors import OperatorError
from headrace.plan.model import Plan
from headrace.spark.files import read_text, write_text


@dataclass(slots=True)
class KeptPlans:
    """Plans by hash, in a folder under the tables' root."""

    spark: SparkSession
    root: str
    _known: dict[str, Plan] = field(default_factory=dict)

    def keep(self, plan: Plan) -> None:
        """Write ``plan`` unless it is there."""
        if plan.hash not in self._known:
            if read_text(self.spark, self._path(plan.hash)) is None:
                write_text(self.spark, self._path(plan.hash), plan.to_json())
            self._known[plan.hash] = plan

    def get(self, hash: str) -> Plan:
        """The plan of that hash. Raises OperatorError when its file is gone."""
        if hash not in self._known:
            text = read_text(self.spark, self._path(hash))
            if text is None:
                raise OperatorError(
                    f"the plan {hash[:12]} that the tables were written under is missing: "
                    f"{self._path(hash)}",
                    code="HR911",
                )
            self._known[hash] = Plan.from_json(text)
        return self._known[hash]

    def _path(self, hash: str) -> str:
        return f"{self.root.rstrip('/')}/_plans/{hash}.json"
