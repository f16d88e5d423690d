"""Which plan the streaming job should run: what Postgres says, or said last."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from headrace.errors import OperatorError
from headrace.plan.model import Plan
from headrace.spark.plans import KeptPlans
from headrace.store import Store

JOB = "stream"
# Postgres is asked for a new plan this often even when control.v1 is silent.
ASK_EVERY_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class Target:
    """The plan Postgres wants to run. ``last`` is what runs on while Postgres is away."""

    store: Store
    plans: KeptPlans
    last: Plan | None = None
    asked_at: float | None = None

    def __call__(self, told: bool) -> Plan:
        """Ask Postgres if it is time to, or ``told`` that something changed.

        Raises OperatorError when there is no plan, and when Postgres is away at the first start.
        """
        late = self.asked_at is None or time.monotonic() - self.asked_at > ASK_EVERY_SECONDS
        if told or late:
            self._ask()
        assert self.last is not None
        return self.last

    def _ask(self) -> None:
        self.asked_at = time.monotonic()
        try:
            found = self.store.target_plan(JOB)
        except OperatorError as error:
            if self.last is None:
                raise
            log.warning("postgres is away, the last plan runs on", error=str(error))
            return
        if found is None:
            raise OperatorError("no plan is active: `headrace apply RULES` first", code="HR912")
        if self.last is None or self.last.hash != found.hash:
            self.last = Plan.from_json(found.text)
        self.plans.keep(self.last)
