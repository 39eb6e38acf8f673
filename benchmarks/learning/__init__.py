"""How many labels a strategy saves: models that learn from what a policy collects, day after day."""
