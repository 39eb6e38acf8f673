"""Rigs: real counterparts that tests run against: cameras, servers, a platform, networks, footage."""
