"""How long the property tests look: a little each time, all night where it is asked for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

EXAMPLES = os.environ.get("PROPERTIES")
"""Rule-history pairs for each property, when not as usual: ``make properties N=10000``."""


def looking(usual: int) -> settings:
    """Settings for a property that usually looks at so many cases."""
    return settings(
        deadline=None,  # cases are large, machines are shared
        max_examples=int(EXAMPLES) if EXAMPLES else usual,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )


quick = looking(20)
many = looking(55)
