"""Rigs: real counterparts (cameras, networks, footage) that tests run against."""
