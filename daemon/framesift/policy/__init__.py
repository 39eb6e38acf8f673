"""Policies: what is worth a label. A policy comes from a file, an https:// address or a project of the platform.

    Policies           the policies of a run: the current one of each stream, refreshed by a thread
    fetch_once         the policy of one source, now
    PolicySettings     how the settings name a source
    parse_fetched      reads a document that was written for other programs too, and leaves out what is not known
    policy.py          Policy itself, with `load` for files

Files are read strictly, at the start and at a reload. A fetched policy is validated before it replaces the current one,
and cached on disk, without secrets, for a start without network.
"""

from __future__ import annotations

from framesift.policy.initial_fetch import fetch_once
from framesift.policy.policies import Policies, PolicyObserver
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings, UrlPolicySettings
from framesift.policy.project_pairs import MAX_PROJECT_PAIRS
from framesift.policy.sources import SourceContext
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
    "PolicyObserver",
    "PolicySettings",
    "PolicySourceStatus",
    "PolicyUnavailable",
    "ProjectPair",
    "RoboflowPolicySettings",
    "SourceContext",
    "UrlPolicySettings",
    "fetch_once",
    "parse_fetched",
]
