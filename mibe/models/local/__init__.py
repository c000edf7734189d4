"""Models without an engine: the demo model, a dummy for tests, a function of one's own, and counters of tokens."""
