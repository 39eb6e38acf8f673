"""Where policies come from: a file, an https:// address, or a project of the platform; kept on disk, refreshed.

    Policies          those of the whole run: what holds for each stream, and the thread that keeps them fresh
    ask_once          one source's policy, now (source_of: the source itself)
    PolicySettings     how the settings name a source
    read_fetched      a document that others wrote, read tolerantly

A file is read strictly, at the start and when it is told to. What is fetched is validated before it replaces the last
good policy, which is kept on disk, without secrets, for a start without network.
"""

from __future__ import annotations

from framesift.policy.policies import Policies, fetch_once
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings, UrlPolicySettings
from framesift.policy.project_pairs import MAX_PROJECT_PAIRS
from framesift.policy.sources import create_source
from framesift.policy.tolerant_parser import FetchedPolicy, parse_fetched
from framesift.policy.types import (
    CurrentPolicy,
    NoPolicyReason,
    PolicyEvent,
    PolicyEventKind,
    PolicySourceStatus,
    PolicyUnavailable,
    ProjectPair,
)

__all__ = [
    "MAX_PROJECT_PAIRS",
    "CurrentPolicy",
    "FetchedPolicy",
    "NoPolicyReason",
    "Policies",
    "PolicyEvent",
    "PolicyEventKind",
    "PolicySettings",
    "PolicySourceStatus",
    "PolicyUnavailable",
    "ProjectPair",
    "RoboflowPolicySettings",
    "UrlPolicySettings",
    "create_source",
    "fetch_once",
    "parse_fetched",
]
