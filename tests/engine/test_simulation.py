"""2,000 random actions on deployments without servers; `make chaos` does 10,000."""

from __future__ import annotations

from simulation import lives


def test_whatever_is_done_to_a_deployment_its_members_are_the_references() -> None:
    done = lives(2_000, seed=20261121)
    assert min(done.values()) > 20, f"some actions were hardly done: {done}"
