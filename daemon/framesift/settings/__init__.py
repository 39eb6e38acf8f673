"""The settings: what framesift.yaml says of this machine, read once at the start.

    variables such as FRAMESIFT_SPOOL__PATH  >  framesift.yaml, with ${NAME} and ${NAME:default} in it  >  defaults

ROBOFLOW_API_KEY is the default of `roboflow.api_key`; REDIS_HOST, REDIS_PORT and REDIS_SSL are the default of
`limits.redis`. The tags of ACTIVE_LEARNING_TAGS (a comma list) come before `tags`. ACTIVE_LEARNING_ENABLED=false
switches collecting off, whatever the file says. Relative paths, also those from variables, are relative to the file's
folder. Where systemd sets $STATE_DIRECTORY, the default of `spool.path` is in that folder. Everything wrong is a
ConfigError with one line per problem.
"""

from __future__ import annotations

from framesift.config.variables import find_settings_file
from framesift.settings.blocks import (
    DecisionSettings,
    LogSettings,
    ModelUse,
    Settings,
    SpoolSettings,
    StatusSettings,
    StreamEntry,
    UploadSettings,
)
from framesift.settings.environment import Environment
from framesift.settings.loader import (
    load,
    load_account,
    load_block,
    load_device,
    load_stream_names,
    read_template,
    secrets,
)
from framesift.settings.network import AccountSettings, NetworkSettings
from framesift.settings.privacy_entry import ListenerEntry, PrivacyEntry
from framesift.settings.shared_limits import LimitsSettings, RedisSettings

__all__ = [
    "AccountSettings",
    "DecisionSettings",
    "Environment",
    "LimitsSettings",
    "ListenerEntry",
    "LogSettings",
    "ModelUse",
    "NetworkSettings",
    "PrivacyEntry",
    "RedisSettings",
    "Settings",
    "SpoolSettings",
    "StatusSettings",
    "StreamEntry",
    "UploadSettings",
    "find_settings_file",
    "load",
    "load_account",
    "load_block",
    "load_device",
    "load_stream_names",
    "read_template",
    "secrets",
]
