"""Keeps the spool in agreement with the shared limits and with the batches on the platform."""
