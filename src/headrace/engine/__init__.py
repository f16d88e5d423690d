"""The kernel: (state, events, now, plan) -> (new state, transitions), over Arrow tables. Pure."""
