"""Limits that several devices share through one Redis server."""
