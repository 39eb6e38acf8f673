"""What keeps the spool, the shared limits and the platform's batches in agreement."""
