"""Requests to servers elsewhere, each with one deadline over the whole of it."""
