"""`framesift policy`: read policies, try them on recorded predictions, and exchange them with the platform.

What is asked for goes to stdout, what is worth knowing beside it to stderr. Exit codes as of all commands: 1 a failure,
2 a bad policy, bad settings or a wrong use of the command.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer
from rich.cells import cell_len
from rich.table import Table

from framesift.cli.console import ConfigOption, err, escape_text, fail, out, print_note, to_json_text
from framesift.cli.policy_exchange import pull, push

if TYPE_CHECKING:
    from framesift.policy import CurrentPolicy
    from framesift.policy.policy import Policy
    from framesift.sampling.dry_run import DryRun, DryRunResult
    from framesift.settings import Settings

policy_app = typer.Typer(help="Read policies, try them on predictions, and exchange them with the platform.")

# A prediction of a thousand objects with masks is a few megabytes; what has no line end by then is no JSON lines.
LONGEST_LINE_BYTES = 64 << 20
ANSWER_WITHIN_S = 60.0  # of whoever has the policy


@policy_app.command()
def validate(files: Annotated[list[Path], typer.Argument(help="Policies, JSON or YAML.")]) -> None:
    """Tell all that is wrong with policies, read as strictly as in a run."""
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies

    failed = False
    for file in files:
        try:
            policy = policies.load(file)
        except ConfigError as error:
            failed = True
            for line in error.problems:
                err.print(f"[red]framesift:[/] {escape_text(line)}")
            continue
        names = ", ".join(strategy.name for strategy in policy.sampling_strategies)
        count = len(policy.sampling_strategies)
        told = f"ok: {count} {'strategy' if count == 1 else 'strategies'}" + (f" ({names})" if names else "")
        off = "" if policy.enabled else "; enabled is false: nothing is collected"
        out.print(f"{escape_text(f'{file}: {told}')}{off} [dim]{policies.digest(policy)}[/]")
    raise typer.Exit(2 if failed else 0)


@policy_app.command()
def schema() -> None:
    """The JSON Schema of a policy (2020-12)."""
    from framesift.policy.policy import Policy

    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    sys.stdout.write(json.dumps(dialect | Policy.model_json_schema(), indent=2) + "\n")


@policy_app.command()
def show(
    file: Annotated[Path | None, typer.Argument(help="A policy; else the one that the settings name.")] = None,
    config: ConfigOption = None,
    stream: Annotated[str | None, typer.Option(help="The policy of this stream.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """The policy in effect, every default filled in.

    Its hash, and what else is to be known of it, goes to stderr.
    """
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies

    if file is not None and (stream is not None or config is not None):
        fail("a file is shown as it is: --config and --stream are for the settings' policies")
    try:
        if file is not None:
            policy = policies.load(file)
        else:
            standing = _standing(config, stream)
            for line in (*standing.notes, *(f"left out: {line}" for line in standing.left_out)):
                print_note(line)
            policy = standing.policy
    except ConfigError as error:
        fail(str(error))
    sys.stdout.write(to_json_text(policies.effective(policy), indent=None if as_json else 2))
    err.print(f"hash {policies.digest(policy)}")


def _standing(config: Path | None, stream: str | None) -> CurrentPolicy:
    """The policy that the settings name, asked for now. Raises ConfigError."""
    from framesift.clock.clock import SystemClock
    from framesift.config.errors import ConfigError
    from framesift.policy import PolicyUnavailable, RoboflowPolicySettings, SourceContext, fetch_once
    from framesift.service.connections import open_connections

    settings = _settings(config)
    options = settings.policy
    if stream is not None:
        named = {one.name: one for one in settings.streams}
        if stream not in named:
            raise ConfigError(f"--stream {stream}: the settings have no such stream; they have {', '.join(named)}")
        options = named[stream].policy or options
    if not settings.enabled:
        print_note(
            "enabled is false in the settings or ACTIVE_LEARNING_ENABLED: nothing is collected, whatever this says"
        )
    task = getattr(settings.model, "task", None)
    must_fit = isinstance(options, RoboflowPolicySettings) and options.model_id is None
    if must_fit and settings.model is not None and task is None:
        print_note("the local model was not loaded: framesift check tells whether it is of the project's kind")
    online = open_connections(settings.roboflow, settings.network)
    try:
        context = SourceContext(online.http, online.platform, SystemClock(), task)
        return fetch_once(options, context, within_s=ANSWER_WITHIN_S)
    except PolicyUnavailable as error:
        fail(str(error), code=1)
    finally:
        online.close()


def _settings(config: Path | None) -> Settings:
    from framesift import settings as settings_room

    return settings_room.load(settings_room.find_settings_file(config, os.environ), os.environ)


policy_app.command()(pull)
policy_app.command()(push)


@policy_app.command("try")
def try_(
    policy: Annotated[Path, typer.Argument(help="The policy, JSON or YAML.")],
    predictions: Annotated[
        str, typer.Argument(help="JSON lines: a prediction each, as from run --record; - reads stdin.")
    ],
    seed: Annotated[int, typer.Option(help="Of the random draws.", min=0, max=2**63 - 1)] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help='A line each: {"matched": [...], "charged": ..., "reason": ...}.')
    ] = False,
    stream: Annotated[str, typer.Option(help="Whose draws: those of a stream of this name.")] = "try",
) -> None:
    """Which strategies match recorded predictions.

    For each one also which strategy is charged, or why none is. Limits hold over all of them.
    """
    from framesift.clock.clock import SystemClock
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies
    from framesift.sampling.dry_run import DryRun

    try:
        read = policies.load(policy)
        trial = DryRun(read, seed=seed, stream=stream, started_s=SystemClock().now().wall_s)
        for sentence in trial.notes:
            print_note(sentence)
        sheet = _Sheet(trial.policy)
        failures: dict[str, None] = {}
        for number, tried in _tried(trial, predictions):
            sheet.count(tried)
            failures.update(dict.fromkeys(tried.failures))
            sys.stdout.write(_json_line(tried) if as_json else sheet.line(number, tried))
            sys.stdout.flush()
    except ConfigError as error:
        fail(str(error))
    if not as_json:
        sheet.summarize()
    for sentence in failures:
        print_note(f"{sentence}; that counts as no match")
    if sheet.dropped:
        print_note(f"{sheet.dropped} parts of predictions are malformed and were left out, as in a run")


def _tried(trial: DryRun, predictions: str) -> Iterator[tuple[int, DryRunResult]]:
    """Each prediction's line number and what became of it. Raises ConfigError that names the file and the line."""
    from framesift.config.errors import ConfigError

    source = "stdin" if predictions == "-" else predictions
    number = 0
    try:
        with sys.stdin.buffer if predictions == "-" else Path(predictions).open("rb") as file:
            while line := file.readline(LONGEST_LINE_BYTES + 1):
                number += 1
                if len(line) > LONGEST_LINE_BYTES:
                    raise ValueError(f"is longer than {LONGEST_LINE_BYTES} bytes: a line is one prediction")
                if line := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
                    tried = trial.evaluate(json.loads(line.decode()))
                    yield number, tried
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{number}: column {error.colno}: is not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}:{number}: is not UTF-8 text (byte 0x{line[error.start]:02x})") from None
    except RecursionError:
        raise ConfigError(f"{source}:{number}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{source}:{number}: {str(error)[:300]}") from None
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from None


def _json_line(tried: DryRunResult) -> str:
    reason = None if tried.refusal is None else tried.refusal.value
    return json.dumps({"matched": tried.matched, "charged": tried.strategy, "reason": reason}) + "\n"


class _Sheet:
    """What is printed for people: a line for each prediction, and the sums."""

    def __init__(self, policy: Policy) -> None:
        self.dropped = 0
        self._names = [strategy.name for strategy in policy.sampling_strategies]
        self._zone = ZoneInfo(policy.time_zone)
        self._width = max(cell_len(f"charged {name}") for name in [*self._names, "near_duplicate"])
        self._matched: Counter[str] = Counter()
        self._charged: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def count(self, tried: DryRunResult) -> None:
        self.dropped += tried.dropped_parts
        self._matched.update(tried.matched)
        if tried.strategy is not None:
            self._charged[tried.strategy] += 1
        if tried.refusal is not None:
            self._reasons[tried.refusal.value] += 1

    def line(self, number: int, tried: DryRunResult) -> str:
        when = datetime.fromtimestamp(tried.captured_at_s, self._zone)
        decision = f"refused {tried.refusal}" if tried.strategy is None else f"charged {tried.strategy}"
        matched = f"matched {', '.join(tried.matched)}" if tried.matched else ""
        room = " " * (self._width - cell_len(decision))
        return f"{number:>7}  {when:%Y-%m-%d %H:%M:%S %Z}  {decision}{room}  {matched}".rstrip() + "\n"

    def summarize(self) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("strategy", overflow="fold")
        for title in ("matched", "charged"):
            table.add_column(title, justify="right")
        for name in self._names:
            table.add_row(escape_text(name), str(self._matched[name]), str(self._charged[name]))
        out.print()
        out.print(table)
        charged = self._charged.total()
        refused = "".join(f", {count} {reason}" for reason, count in self._reasons.most_common())
        out.print(f"{charged + self._reasons.total()} predictions: {charged} charged{refused}")
