"""What was collected, for people and for training: contact sheets, and datasets in the formats of others.

Everything here reads: a collected folder or a spool is never changed.
"""
