"""Sampling: which strategies want a frame, which datapoint each would create, and which quota it needs."""
