"""The JSON Schema of framesift.yaml, for editors."""

from __future__ import annotations

import json
from typing import Any

from framesift.settings.blocks import Settings

# The newest draft that all editors' YAML extensions read.
_DRAFT = "http://json-schema.org/draft-07/schema#"
SCHEMA_FILE = "framesift.schema.json"


def editor_schema() -> str:
    """The schema as JSON text, in draft 7: with each key's sentence, default, range and example."""
    return json.dumps({"$schema": _DRAFT, **_in_draft_7(Settings.model_json_schema())}, indent=2) + "\n"


def _in_draft_7(schema: Any) -> Any:
    """The same schema, with lists of fixed places as draft 7 writes them."""
    if isinstance(schema, list):
        return [_in_draft_7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {"items" if key == "prefixItems" else key: _in_draft_7(inner) for key, inner in schema.items()}
