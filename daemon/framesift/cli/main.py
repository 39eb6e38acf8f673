"""The command line. Each command is a few lines: read what was asked, call the room, print the answer.

Exit codes: 0 a clean stop, 1 a failure, 2 a bad configuration or a wrong use of the command. Modules that a command
does not need are not loaded for it: `framesift --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.table import Table

from framesift import __version__
from framesift.cli.console import ConfigOption, err, escape_text, fail, out
from framesift.cli.policy import policy_app
from framesift.cli.spool import spool_app

if TYPE_CHECKING:
    from pydantic import BaseModel

    from framesift.settings import Settings

_LAST_LINES_S = 1.0  # how long a run that ends waits for whoever reads its log
_Block = TypeVar("_Block", bound="BaseModel")
app = typer.Typer(add_completion=False, no_args_is_help=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(spool_app, name="spool")
app.add_typer(policy_app, name="policy")

WELCOME = f"""[bold]framesift {__version__}[/] watches your cameras and keeps the frames that are worth a label.

  framesift demo      a rendered street, a real detector, a contact sheet: under a minute
  framesift init      write framesift.yaml and policy.json here, ready to run
  framesift check     try everything in them: model, cameras, sink, disk
  framesift run       collect until you press Ctrl-C
  framesift --help    everything else"""


@app.callback(invoke_without_command=True)
def welcome(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Framesift watches cameras and keeps the frames that are worth a label."""
    if version:
        out.print(f"framesift {__version__}")
    elif context.invoked_subcommand is None:
        out.print(WELCOME)


@app.command()
def run(
    config: ConfigOption = None,
    record: Annotated[
        Path | None, typer.Option(help="Also write every prediction to this JSON-lines file (for model: recorded).")
    ] = None,
) -> None:
    """Collect from all streams until stopped, or until every file has ended and all is delivered."""
    from framesift.clock.clock import SystemClock
    from framesift.config.errors import ConfigError
    from framesift.listeners import ListenerUnavailable
    from framesift.models import ModelLoadError
    from framesift.service.service import Service
    from framesift.service.systemd import Notifier
    from framesift.settings import Environment, secrets
    from framesift.spool import SpoolInUse, SpoolTooNew, SpoolUnusable
    from framesift.telemetry import LineQueue, Telemetry
    from framesift.telemetry.file_descriptors import raise_limit

    settings = _settings(config)
    for number, stream in enumerate(settings.streams):
        if stream.is_file and not Path(str(stream.source)).is_file():
            fail(f"streams[{number}].source: {stream.redacted_source}: there is no such file")
    raise_limit()
    clock = SystemClock()
    lines = LineQueue(sys.stdout)
    telemetry = Telemetry(clock, settings.log, secrets=secrets(settings), out=lines)
    for deprecation in settings.deprecations:
        telemetry.warning("deprecated_setting", setting=deprecation.old, use=deprecation.new, at=deprecation.location)
    notifier = Notifier(Environment.from_variables(os.environ).notify_socket)
    service = Service(settings, clock=clock, telemetry=telemetry, notifier=notifier, record=record)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload before there is anything to reload
    try:
        code = service.run()
    except (ConfigError, ModelLoadError, SpoolTooNew, SpoolUnusable) as error:
        fail(str(error))
    except (SpoolInUse, ListenerUnavailable) as error:
        fail(str(error), code=1)
    finally:
        lines.drain(_LAST_LINES_S)
    raise typer.Exit(code)


def _settings(config: Path | None) -> Settings:
    from framesift import settings as settings_room
    from framesift.config.errors import ConfigError

    try:
        return settings_room.load(settings_room.find_settings_file(config, os.environ), os.environ)
    except ConfigError as error:
        fail(str(error))


def _block(config: Path | None, name: str, model: type[_Block]) -> _Block:
    from framesift import settings as settings_room
    from framesift.config.errors import ConfigError

    try:
        return settings_room.load_block(settings_room.find_settings_file(config, os.environ), os.environ, name, model)
    except ConfigError as error:
        fail(str(error))


@app.command()
def check(
    config: ConfigOption = None,
    within: Annotated[
        float | None, typer.Option(help="Seconds that each probe may take, instead of its own deadline.", min=0.1)
    ] = None,
) -> None:
    """Try the configuration, the model, each stream's first frame, the sink and the disk."""
    from framesift.cli.check import run_checks
    from framesift.cli.probes import has_hung_probe
    from framesift.clock.clock import SystemClock
    from framesift.config.redact import Redactor
    from framesift.settings import secrets

    settings = _settings(config)
    redacted = Redactor(secrets(settings))
    signs = {True: "[green]ok[/]", None: "[yellow]note[/]", False: "[red]FAILED[/]"}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("", "what", "found", "what to do"):
        table.add_column(title, overflow="fold")
    failed = False
    with err.status("trying everything in turn"):
        for finding in run_checks(settings, SystemClock(), within):
            failed |= finding.ok is False
            advice = "" if finding.ok else escape_text(finding.advice)
            table.add_row(
                signs[finding.ok], escape_text(finding.subject), escape_text(redacted(finding.message)), advice
            )
    out.print(table)
    code = 1 if failed else 0
    if has_hung_probe():
        sys.stdout.flush()
        os._exit(code)  # or Python would wait for what hangs
    raise typer.Exit(code)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    force: Annotated[bool, typer.Option(help="Overwrite what is there.")] = False,
) -> None:
    """Write a commented framesift.yaml and policy.json, and a rendered clip to begin with."""
    from framesift.demo.scene import Street, write_video
    from framesift.settings import read_template

    wanted = [folder / name for name in ("framesift.yaml", "policy.json", "street.mp4")]
    there = [str(path) for path in wanted if path.exists()]
    if there and not force:
        fail(f"{', '.join(there)} exists already; --force overwrites it")
    folder.mkdir(parents=True, exist_ok=True)
    for path in wanted[:2]:
        path.write_text(read_template(path.name), encoding="utf-8")
    write_video(Street(frames=240), wanted[2])
    told = ("cameras, model, sink", "what is worth a label", "a clip to begin with")
    for path, what in zip(wanted, told, strict=True):
        out.print(f"wrote {path}  [dim]{what}[/]")
    out.print("next: [bold]framesift check[/], then [bold]framesift run[/]")
    out.print("your camera's address goes into framesift.yaml")


@app.command()
def demo(
    source: Annotated[str | None, typer.Option(help="Your own video, RTSP address or webcam number.")] = None,
    model: Annotated[Path | None, typer.Option(help="An ONNX detector or classifier for your own source.")] = None,
    folder: Annotated[Path, typer.Option(help="Where to put what is collected.")] = Path("framesift-demo"),
    seconds: Annotated[float, typer.Option(help="How long to watch a camera.")] = 30.0,
) -> None:
    """The whole river on a rendered street, or on your own source; ends with a table and a contact sheet."""
    from framesift.demo.run import DemoError, run_demo

    try:
        code = run_demo(folder, source=source, model=model, seconds=seconds, console=out)
    except DemoError as error:
        fail(str(error))
    raise typer.Exit(code)


@app.command()
def status(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    alive: Annotated[bool, typer.Option("--alive", help="Only tell (by the exit code) whether it is alive.")] = False,
) -> None:
    """What a running daemon says of itself."""
    import requests

    from framesift.cli.running_daemon import fetch_page
    from framesift.settings import StatusSettings

    options = _block(config, "status", StatusSettings)
    if options.bind is None:
        fail("status.bind is null: this daemon has no status page to ask")
    try:
        answer = fetch_page(options, "/healthz" if alive else "/status")
    except requests.RequestException as error:
        err.print(f"[red]framesift:[/] no answer from {options.bind}; is it running? {escape_text(str(error))}")
        raise typer.Exit(1) from None
    if alive:
        raise typer.Exit(0)
    if as_json:
        sys.stdout.write(answer.text + "\n")
        return
    _show_status(answer.json())


def _show_status(told: dict[str, Any]) -> None:
    """Health first, then the streams, then the numbers."""
    troubles = [part for part in told["health"] if part["condition"] != "ok"]
    out.print(f"alive {'yes' if told['alive'] else '[red]NO[/]'}, up for {timedelta(seconds=round(told['uptime_s']))}")
    for part in troubles:
        colour = "red" if part["condition"] == "failed" else "yellow"
        out.print(f"[{colour}]{part['condition']}[/] {escape_text(part['name'])}: {escape_text(part['why'])}")
    if not troubles:
        out.print("[green]all is well[/]")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("stream", "up", "frames", "accepted", "refused", "skipped"):
        table.add_column(title, overflow="fold")
    for stream in told["streams"]:
        up = {True: "yes", False: "[red]no[/]", None: ""}[stream["up"]]
        numbers = (str(stream["frames_read"]), _counted(stream["accepted"]))
        table.add_row(stream["stream"], up, *numbers, _counted(stream["refused"]), _counted(stream["skipped"]))
    out.print(table)
    for policy in told["policies"]:
        out.print(escape_text(_policy_line(policy)))
    if told["credits"] is not None:
        for line in _credit_lines(told["credits"]):
            out.print(escape_text(line))
    queue = told["queue"]
    if queue is None:
        out.print("[red]the spool can't be read[/]")
        return
    states = {state: queue[state] for state in ("ready", "sending", "registered", "buried")}
    out.print(f"spool: {_counted(states) or 'empty'}; {queue['size_bytes'] / 2**20:.1f} MiB")
    out.print(f"left so far: {_counted(queue['exits']) or 'nothing'}")


def _policy_line(told: dict[str, Any]) -> str:
    """Which policy holds for whom, and what of it could not be understood."""
    whom = f" of {', '.join(told['streams'])}" if told["streams"] else ""
    if told["hash"] is None:
        return f"policy{whom}: none yet from {told['source']}: {told['trouble']}"
    state = ", ".join(told["strategies"]) if told["enabled"] else "nothing is collected"
    origin = ", from the disk" if told["from_disk"] else ""
    said = "".join(f"\n  note: {text}" for text in (*told["notes"], *told["left_out"]))
    return f"policy{whom} {told['hash']} ({told['source']}{origin}): {state}{said}"


def _credit_lines(credits: dict[str, Any]) -> Iterator[str]:
    """Who grants, and each limit in the window that is open."""
    waiting = f"; {credits['waiting']} datapoint(s) wait for one" if credits["waiting"] else ""
    why = f" ({credits['why']})" if credits["why"] else ""
    yield f"credits are granted by: {credits['granted_by']}{why}{waiting}"
    for use in credits["used"]:
        name = f"{use['project']}/{use['strategy']}" if use["project"] else use["strategy"]
        yield f"  {name}, {use['window']}: {use['used']} of {use['limit']} used"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {escape_text(name)}" for name, count in counts.items() if count)


def main() -> None:
    """The command's entry point. What a user can mend is one line, not a traceback."""
    try:
        app(prog_name="framesift")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        told = _mendable(error)
        if told is None:
            raise
        _end(*told)


def _mendable(error: Exception) -> tuple[str, int] | None:
    """What to say of it, and the exit code; None for a bug. The spool's own errors are looked up only now: a command
    that needs no spool loads neither it nor cv2.
    """
    if isinstance(error, ModuleNotFoundError):
        advice = "pip install 'framesift[headless]', or use the system's OpenCV (README, a minute's start)"
        return (f"cv2 is missing: {advice}", 1) if error.name == "cv2" else None
    if isinstance(error, PermissionError):
        return f"{error.filename}: permission denied for uid {os.getuid()}", 1
    if isinstance(error, OSError):
        return None if error.filename is None else (f"{error.filename}: {error.strerror}", 1)
    from framesift.spool.records import SpoolBroken, SpoolTooNew, SpoolUnusable

    if isinstance(error, (SpoolTooNew, SpoolUnusable)):
        return str(error), 2
    return (str(error), 1) if isinstance(error, SpoolBroken) else None


def _end(why: str, code: int = 1) -> NoReturn:
    err.print(f"[red]framesift:[/] {escape_text(why)}")
    sys.exit(code)
