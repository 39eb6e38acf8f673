"""`framesift policy`: read policies, try them on recorded predictions, and exchange them with the platform.

Results go to stdout, notes and errors to stderr. Exit codes: 1 a failure, 2 a bad policy, bad settings or a wrong use
of the command.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer
from rich.cells import cell_len
from rich.table import Table

from framesift.cli.console import ConfigOption, err, escape_text, fail, noun, out, print_note, to_json_text
from framesift.cli.examples import GroupWithExamples
from framesift.cli.policy_exchange import pull, push

if TYPE_CHECKING:
    from framesift.known.known_pictures import KnownPictures
    from framesift.policy import CurrentPolicy
    from framesift.policy.policy import Policy
    from framesift.sampling.dry_run import DryRun
    from framesift.sampling.dry_run_result import DryRunResult
    from framesift.settings import Settings

policy_app = typer.Typer(
    cls=GroupWithExamples, help="Read policies, try them on predictions, and exchange them with the platform."
)

MOST_PROBLEMS = 1000  # more than anybody reads
_MOST_UNREADABLE = 10  # known pictures that are named
ANSWER_WITHIN_S = 60.0  # of the platform, or of the server at the policy's address


@policy_app.command()
def validate(files: Annotated[list[Path], typer.Argument(help="Policies, JSON or YAML.")]) -> None:
    """Report everything that is wrong with policies, as strictly as a run does."""
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies

    failed = False
    for file in files:
        try:
            policy = policies.load(file, most_problems=MOST_PROBLEMS)
        except ConfigError as error:
            failed = True
            for line in error.problems:
                err.print(f"[red]framesift:[/] {escape_text(line)}")
            continue
        names = ", ".join(strategy.name for strategy in policy.sampling_strategies)
        count = len(policy.sampling_strategies)
        text = f"ok: {count} {'strategy' if count == 1 else 'strategies'}" + (f" ({names})" if names else "")
        off = "" if policy.enabled else "; enabled is false: nothing is collected"
        out.print(f"{escape_text(f'{file}: {text}')}{off} [dim]{policies.digest(policy)}[/]")
    raise typer.Exit(2 if failed else 0)


@policy_app.command()
def schema() -> None:
    """Print the JSON Schema of a policy (2020-12)."""
    from framesift.policy.policy import Policy

    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    sys.stdout.write(json.dumps(dialect | Policy.model_json_schema(), indent=2) + "\n")


@policy_app.command()
def show(
    file: Annotated[Path | None, typer.Argument(help="A policy; default: the one that the settings name.")] = None,
    config: ConfigOption = None,
    stream: Annotated[str | None, typer.Option(help="The policy of this stream.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """Print the policy with all defaults.

    Its hash and notes about it go to stderr.
    """
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies

    if file is not None and (stream is not None or config is not None):
        fail("a file is shown as it is: --config and --stream are for the settings' policies")
    try:
        if file is not None:
            policy = policies.load(file)
        else:
            current = _current_policy(config, stream)
            for line in (*current.notes, *(f"left out: {line}" for line in current.left_out)):
                print_note(line)
            policy = current.policy
    except ConfigError as error:
        fail(str(error))
    sys.stdout.write(to_json_text(policies.effective(policy), indent=None if as_json else 2))
    err.print(f"hash {policies.digest(policy)}")


def _current_policy(config: Path | None, stream: str | None) -> CurrentPolicy:
    """The policy that the settings name, fetched now. Raises ConfigError."""
    from framesift.clock.clock import SystemClock
    from framesift.config.errors import ConfigError
    from framesift.policy import PolicyUnavailable, RoboflowPolicySettings, SourceContext, fetch_once
    from framesift.service.connections import open_connections

    settings = _settings(config)
    policy_settings = settings.policy
    if stream is not None:
        named = {one.name: one for one in settings.streams}
        if stream not in named:
            raise ConfigError(f"--stream {stream}: the settings have no such stream; they have {', '.join(named)}")
        policy_settings = named[stream].policy or policy_settings
    if not settings.enabled:
        print_note(
            "enabled is false in the settings or ACTIVE_LEARNING_ENABLED: nothing is collected, whatever the policy is"
        )
    task = getattr(settings.model, "task", None)
    must_fit = isinstance(policy_settings, RoboflowPolicySettings) and policy_settings.model_id is None
    if must_fit and settings.model is not None and task is None:
        print_note("the local model was not loaded: framesift check shows whether its type suits the project")
    connections = open_connections(settings.roboflow, settings.network)
    try:
        context = SourceContext(connections.http, connections.platform, SystemClock(), task)
        return fetch_once(policy_settings, context, within_s=ANSWER_WITHIN_S)
    except PolicyUnavailable as error:
        fail(str(error), code=1)
    finally:
        connections.close()


def _settings(config: Path | None) -> Settings:
    from framesift import settings

    return settings.load(settings.find_settings_file(config, os.environ), os.environ)


policy_app.command()(pull)
policy_app.command()(push)


@policy_app.command("try")
def try_(
    policy: Annotated[Path, typer.Argument(help="The policy, JSON or YAML.")],
    predictions: Annotated[
        str, typer.Argument(help="JSON lines, one prediction each, as from run --record; - reads stdin.")
    ],
    seed: Annotated[
        int | None,
        typer.Option(help="The seed of the random draws; default: the recording's, or 0.", min=0, max=2**63 - 1),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help='JSON lines: {"matched": [...], "charged": ..., "reason": ..., "score": ...}.'),
    ] = False,
    stream: Annotated[
        str | None,
        typer.Option(help="Use the random draws of a stream of this name; default: the recording's, or try."),
    ] = None,
) -> None:
    """Try a policy on recorded predictions.

    Prints for each prediction which strategies match, and which one is charged or why none is. Limits count over all
    predictions. Exit code 2 if a strategy failed on a prediction; all predictions are tried all the same.
    """
    from framesift.clock.clock import SystemClock
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies
    from framesift.sampling.dry_run import DryRun

    try:
        loaded = policies.load(policy)
        now_s = SystemClock().now().wall_s
        dry_run = DryRun(loaded, seed=seed, stream=stream, started_s=now_s, known=read_known(loaded))
        printed: set[str] = set()
        _print_new_notes(dry_run, printed)
        report = _TextReport(dry_run.policy)
        failures: dict[str, list[int]] = {}  # to the lines of the predictions
        for number, result in _final_results(dry_run, _evaluate_lines(dry_run, predictions)):
            _print_new_notes(dry_run, printed)
            report.count(result)
            for sentence in result.failures:
                failures.setdefault(sentence, []).append(number)
            sys.stdout.write(_json_line(result) if as_json else report.line(number, result))
            sys.stdout.flush()
    except ConfigError as error:
        fail(str(error))
    if not as_json:
        report.summarize()
    for sentence, numbers in failures.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        print_note(f"line {numbers[0]}{more}: {sentence}; that counts as no match")
    if report.dropped:
        parts = noun(report.dropped, "part of a prediction is", "parts of predictions are")
        print_note(f"{report.dropped} {parts} malformed and left out, as in a run")
    if failures:
        raise typer.Exit(2)


def _print_new_notes(dry_run: DryRun, printed: set[str]) -> None:
    """Prints the notes that were not printed yet, and adds them to `printed`."""
    for sentence in dry_run.notes:
        if sentence not in printed:
            printed.add(sentence)
            print_note(sentence)


def _final_results(dry_run: DryRun, results: Iterator[tuple[int, DryRunResult]]) -> Iterator[tuple[int, DryRunResult]]:
    """Yields each line's number and result in order, once no later prediction can change it."""
    waiting: deque[tuple[int, DryRunResult]] = deque()

    def replace(changed_results: Iterable[DryRunResult]) -> None:
        for changed in changed_results:
            index = changed.number - waiting[0][1].number
            waiting[index] = (waiting[index][0], changed)

    for line, result in results:
        waiting.append((line, result))
        replace(result.replaced)
        while waiting and waiting[0][1].number < dry_run.first_changeable:
            yield waiting.popleft()
    replace(dry_run.end())
    yield from waiting


def _evaluate_lines(dry_run: DryRun, predictions: str) -> Iterator[tuple[int, DryRunResult]]:
    """Yields each prediction's line number and result. Raises ConfigError with the file and the line."""
    from framesift.config.errors import ConfigError
    from framesift.sampling.recording_file import read_recording

    source = "stdin" if predictions == "-" else predictions
    try:
        with sys.stdin.buffer if predictions == "-" else Path(predictions).open("rb") as file:
            for number, recorded in read_recording(source, file):
                try:
                    result = dry_run.decide(recorded)
                except ValueError as error:
                    raise ConfigError(f"{source}:{number}: {str(error)[:300]}") from None
                yield number, result
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from None


def _json_line(result: DryRunResult) -> str:
    reason = None if result.refusal is None else result.refusal.value
    fields: dict[str, object] = {
        "matched": result.matched,
        "charged": result.strategy,
        "reason": reason,
        "score": result.score,
    }
    if result.held is not None:
        fields["held"] = result.held
    if result.sequence_offset_s is not None:
        fields["sequence_offset_s"] = result.sequence_offset_s
    if result.weight is not None:
        fields["weight"] = result.weight
    if result.excluded:
        fields["excluded"] = dict(result.excluded)
    return json.dumps(fields) + "\n"


def read_known(policy: Policy) -> KnownPictures:
    """The known pictures that a policy names. A note names what can't be read."""
    from framesift.known.known_pictures import KnownPictures

    known = KnownPictures()
    for paths in policy.known_paths:
        read = known.read(paths)
        unreadable = () if read is None else read.unreadable
        for sentence in unreadable[:_MOST_UNREADABLE]:
            print_note(f"can't be read: {sentence}")
        if len(unreadable) > _MOST_UNREADABLE:
            more = len(unreadable) - _MOST_UNREADABLE
            print_note(f"can't be read: {more} more known {noun(more, 'picture')}")
    return known


class _TextReport:
    """The report for people: a line for each prediction, and the sums."""

    def __init__(self, policy: Policy) -> None:
        self.dropped = 0
        self._held = self._drawn = 0
        self._names = [strategy.name for strategy in policy.sampling_strategies]
        self._zone = ZoneInfo(policy.time_zone)
        self._width = max(cell_len(f"charged {name}") for name in [*self._names, "near_duplicate"])
        self._matched: Counter[str] = Counter()
        self._charged: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def count(self, result: DryRunResult) -> None:
        """Adds a result to the sums."""
        self.dropped += result.dropped_parts
        self._matched.update(result.matched)
        if result.strategy is not None:
            self._charged[result.strategy] += 1
        if result.refusal is not None:
            self._reasons[result.refusal.value] += 1
        self._held += result.held is not None
        self._drawn += result.weight is not None

    def line(self, number: int, result: DryRunResult) -> str:
        """The line of one prediction. number: of its line in the file."""
        when = datetime.fromtimestamp(result.captured_at_s, self._zone)
        decision = f"refused {result.refusal}" if result.strategy is None else f"charged {result.strategy}"
        if result.held is not None:
            decision = f"held {result.held}"
        matched = f"matched {', '.join(result.matched)}" if result.matched else ""
        score = "" if result.score is None else f"  score {result.score:.3g}"
        offset_s = result.sequence_offset_s
        beside = "" if offset_s is None else f"  {offset_s:+g} s in a sequence"
        excluded = "".join(f"  excluded {name} ({why})" for name, why in result.excluded.items())
        drawn = "" if result.weight is None else f"  baseline, weight {result.weight}"
        padding = " " * (self._width - cell_len(decision))
        line = (
            f"{number:>7}  {when:%Y-%m-%d %H:%M:%S %Z}  {decision}{padding}  {matched}{score}{beside}{excluded}{drawn}"
        )
        return line.rstrip() + "\n"

    def summarize(self) -> None:
        """Prints the sums."""
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
        held = f", {self._held} held until a turn is due" if self._held else ""
        drawn = f", {self._drawn} drawn for the baseline" if self._drawn else ""
        predictions = charged + self._reasons.total() + self._held
        out.print(f"{predictions} {noun(predictions, 'prediction')}: {charged} charged{refused}{held}{drawn}")
