"""An example of each command, which its --help shows."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

EXAMPLES = {
    "check": "framesift check --config /etc/framesift/framesift.yaml",
    "coverage": "framesift coverage",
    "demo": "framesift demo --source holiday.mp4 --model yolo11n.onnx",
    "estimate": "framesift estimate collected --labels corrected --class car",
    "explain": "framesift explain gate 14:05",
    "export": "framesift export collected for-cvat --format cvat",
    "forget": "framesift forget --stream gate --until 2026-11-28 --dry-run",
    "init": "framesift init /etc/framesift",
    "pause": "framesift pause gate --for 2h",
    "plan": "framesift plan --budget 50/day yesterday.mp4",
    "policy": "framesift policy validate policy.json",
    "policy pull": "framesift policy pull parking --output policy.json",
    "policy push": "framesift policy push policy.json parking",
    "policy schema": "framesift policy schema > policy.schema.json",
    "policy show": "framesift policy show --stream gate",
    "policy try": "framesift policy try policy.json predictions.jsonl",
    "policy validate": "framesift policy validate policy.json night.json",
    "resume": "framesift resume gate",
    "run": "framesift run --config /etc/framesift/framesift.yaml",
    "settings": "framesift settings schema",
    "settings schema": "framesift settings schema > framesift.schema.json",
    "sheet": "framesift sheet collected --out sheet.jpg",
    "simulate": "framesift simulate yesterday.mp4 --policy now.json --policy new.json",
    "spool": "framesift spool list --state buried",
    "spool alike": "framesift spool alike --limit 10",
    "spool downgrade": "framesift spool downgrade --config /etc/framesift/framesift.yaml",
    "spool drop": "framesift spool drop --buried",
    "spool list": "framesift spool list --state buried",
    "spool recover": "framesift spool recover spool.db.corrupt-1789041600",
    "spool retry": "framesift spool retry",
    "spool show": "framesift spool show 0197c2f4",
    "status": "framesift status --open",
    "support-bundle": "framesift support-bundle --log framesift.log --out support.tar.gz",
    "take": "framesift take gate",
}


class GroupWithExamples(TyperGroup):
    """Commands whose help ends with their example."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, with its example; None where there is none."""
        command = super().get_command(ctx, cmd_name)
        name = cmd_name if ctx.parent is None else f"{ctx.info_name} {cmd_name}"
        if command is not None and name in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[name]}"
        return command
