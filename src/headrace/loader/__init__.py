"""From memberships.v1 into the cache."""
