"""How long the property tests look: a little each time, all night where it is asked for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

USUAL = 300
"""About so many pairs of rules and a history the suite draws for what the kernel must equal."""

PAIRS = int(os.environ.get("PROPERTIES", USUAL))
"""How many they are to be: ``make properties N=10000``. Each property takes its share."""


def looking(usual: int) -> settings:
    """Settings for a property that usually looks at so many cases."""
    return settings(
        deadline=None,  # cases are large, machines are shared
        max_examples=max(1, usual * PAIRS // USUAL),
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )


quick = looking(20)
many = looking(55)
