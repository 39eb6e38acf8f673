"""Where policies come from: a file, an https:// address, or a project of the platform; kept on disk, refreshed.

    Policies          those of the whole run: what holds for each stream, and the thread that keeps them fresh
    ask_once          one source's policy, now (source_of: the source itself)
    PolicyOptions     how the settings name a source
    read_fetched      a document that others wrote, read tolerantly

A file is read strictly, at the start and when it is told to. What is fetched is validated before it replaces the last
good policy, which is kept on disk, without secrets, for a start without network.
"""

from __future__ import annotations

from framesift.policy.policies import Policies, ask_once
from framesift.policy.policy_settings import PolicyOptions, RoboflowPolicy, UrlPolicy
from framesift.policy.project_pairs import MOST_PAIRINGS
from framesift.policy.sources import source_of
from framesift.policy.tolerant_parser import Fetched, read_fetched
from framesift.policy.types import Held, News, NoPolicy, Pairing, PolicyUnavailable, Standing, Told

__all__ = [
    "MOST_PAIRINGS",
    "Fetched",
    "Held",
    "News",
    "NoPolicy",
    "Pairing",
    "Policies",
    "PolicyOptions",
    "PolicyUnavailable",
    "RoboflowPolicy",
    "Standing",
    "Told",
    "UrlPolicy",
    "ask_once",
    "read_fetched",
    "source_of",
]
