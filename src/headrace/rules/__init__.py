"""The rule language: model, catalog, spellings, checks and the reference evaluator. Pure."""
