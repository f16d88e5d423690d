"""The routes, by resource: each says what, not how."""
