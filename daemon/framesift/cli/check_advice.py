"""What `framesift check` advises about a policy that can't be used."""

from __future__ import annotations

from pathlib import Path

from framesift.policy import PolicySettings, UrlPolicySettings


def policy_advice(settings: PolicySettings) -> str:
    """What to do about a policy that is none. settings: where it is."""
    if isinstance(settings, UrlPolicySettings):
        return "correct what the server at this address sends"
    if not isinstance(settings, Path):
        return "see docs/roboflow.md"
    try:
        settings.open("rb").close()
    except IsADirectoryError:
        return "give the path of a file: the policy's name is missing after the folder's"
    except PermissionError:
        return "let the user that runs framesift read it: its owner and mode, and those of its folders, forbid that"
    except OSError:
        pass  # it is not there
    return "correct it; framesift init writes a file that works"
