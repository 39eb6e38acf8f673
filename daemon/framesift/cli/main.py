"""The command line. Each command is short: it reads its arguments, calls a module, and prints the answer.

Exit codes: 0 success, 1 a failure, 2 bad configuration or wrong use of the command. A command imports only the modules
that it needs, so that `framesift --help` answers at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from framesift import __version__
from framesift.cli.console import ConfigOption, err, escape_text, fail, out, print_next, print_note, to_json_text
from framesift.cli.coverage import coverage
from framesift.cli.estimate import estimate
from framesift.cli.examples import GroupWithExamples
from framesift.cli.explain import explain
from framesift.cli.export import export
from framesift.cli.fatal import LAST_LINES_S, RunLog, failures_logged
from framesift.cli.forget import forget
from framesift.cli.hands import pause, resume, take
from framesift.cli.media_run import ClockKind, create_clock
from framesift.cli.plan import plan
from framesift.cli.policy import policy_app
from framesift.cli.settings import settings_app
from framesift.cli.sheet import sheet
from framesift.cli.simulate import simulate
from framesift.cli.spool import spool_app
from framesift.cli.support_bundle import support_bundle

if TYPE_CHECKING:
    import requests
    from pydantic import BaseModel

    from framesift.settings import Settings

_GC_THRESHOLD = 700  # containers; the default of Python below 3.13, whatever it was set to while importing
_Block = TypeVar("_Block", bound="BaseModel")
app = typer.Typer(
    cls=GroupWithExamples,
    epilog="Example: framesift init && framesift check && framesift run",
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(coverage)
app.command()(estimate)
app.command()(explain)
app.command()(export)
app.command()(forget)
app.command()(take)
app.command()(pause)
app.command()(plan)
app.command()(resume)
app.command()(sheet)
app.command()(simulate)
app.command()(support_bundle)
app.add_typer(spool_app, name="spool")
app.add_typer(policy_app, name="policy")
app.add_typer(settings_app, name="settings")

WELCOME = f"""[bold]framesift {__version__}[/] watches your cameras and keeps the frames that are worth a label.

  framesift demo      a rendered street, a real detector, a contact sheet: under a minute
  framesift init      write framesift.yaml and policy.json here, ready to run
  framesift check     try everything in them: model, cameras, sink, disk
  framesift run       collect until you press Ctrl-C
  framesift --help    everything else"""


@app.callback(invoke_without_command=True)
def welcome(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
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
    clock: Annotated[
        ClockKind, typer.Option(help="media: limits and capture times follow the files' own time, from --start on.")
    ] = ClockKind.SYSTEM,
    start: Annotated[
        str | None,
        typer.Option(help="With --clock media: when each file begins, such as 2026-11-28T10:00+01:00 (else local)."),
    ] = None,
) -> None:
    """Collect from all streams until stopped, or until all files have ended and everything is delivered."""
    log = RunLog()
    try:
        with failures_logged(log, _user_error, os.environ.get("JOURNAL_STREAM")):
            code = _run(config, record, (clock, start), log)
    except BaseException as error:
        if not log.has_left_behind():
            raise
        code = _exit_status(error)
    if log.has_left_behind():
        os._exit(code)  # Python would wait for a thread that hangs, or end under one that runs
    raise typer.Exit(code)


def _run(config: Path | None, record: Path | None, time: tuple[ClockKind, str | None], log: RunLog) -> int:
    """The exit status of a run."""
    from framesift.cli.run_progress import RunProgress
    from framesift.clock.clock import SystemClock
    from framesift.config.errors import ConfigError
    from framesift.listeners import ListenerUnavailable
    from framesift.models import ModelLoadError
    from framesift.service.service import Service
    from framesift.service.systemd import Notifier
    from framesift.settings import Environment, find_settings_file, load, secrets
    from framesift.spool import SpoolInUse, SpoolTooNew, SpoolUnusable
    from framesift.telemetry import LineQueue, Telemetry
    from framesift.telemetry.file_descriptors import raise_limit

    settings = _settings(config)
    gc.freeze()  # what was imported is no garbage
    gc.set_threshold(_GC_THRESHOLD)
    _refuse_missing_files(settings)
    clock = SystemClock()
    run_clock = create_clock(*time, settings, clock)
    raise_limit()
    lines = log.lines = LineQueue(sys.stdout, journal_stream=os.environ.get("JOURNAL_STREAM"))
    telemetry = log.telemetry = Telemetry(clock, settings.log, secrets=secrets(settings), out=lines)
    for deprecation in settings.deprecations:
        telemetry.warning("deprecated_setting", setting=deprecation.old, use=deprecation.new, at=deprecation.location)
    notifier = Notifier(Environment.from_variables(os.environ).notify_socket)
    path = find_settings_file(config, os.environ).absolute()
    service = Service(
        settings,
        clock=run_clock,
        telemetry=telemetry,
        notifier=notifier,
        record=record,
        progress=RunProgress(settings, telemetry, clock, sys.stderr),
        read_settings=lambda: load(path, os.environ),
    )
    log.has_left_behind = lambda: service.has_left_behind
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload before the service is ready
    try:
        code = service.run()
    except (ConfigError, ModelLoadError, SpoolInUse, SpoolTooNew, SpoolUnusable) as error:
        fail(str(error))
    except ListenerUnavailable as error:
        fail(str(error), code=1)
    finally:
        lines.drain(LAST_LINES_S)
    return code


def _refuse_missing_files(settings: Settings) -> None:
    """End where each source is a file that is not there. Beside others, the stream itself says that it is lost."""
    missing = [
        stream
        for stream in settings.streams
        if stream.is_path and not stream.watch and not (stream.folder if stream.is_pictures else stream.path).exists()
    ]
    if missing and len(missing) == len(settings.streams) and not settings.listeners:
        source = f"streams[0].source: {missing[0].redacted_source}"
        kind = "folder" if missing[0].is_pictures else "file"
        fail(f"{source}: the {kind} does not exist (a camera's address begins with rtsp://)")


def _settings(config: Path | None) -> Settings:
    """The settings; ends the command where they are wrong."""
    from framesift import settings
    from framesift.config.errors import ConfigError

    try:
        return settings.load(settings.find_settings_file(config, os.environ), os.environ)
    except ConfigError as error:
        fail(str(error))


def _block(config: Path | None, name: str, model: type[_Block]) -> _Block:
    """One block of the settings; ends the command where it is wrong."""
    from framesift import settings
    from framesift.config.errors import ConfigError

    try:
        return settings.load_block(settings.find_settings_file(config, os.environ), os.environ, name, model)
    except ConfigError as error:
        fail(str(error))


@app.command()
def check(
    config: ConfigOption = None,
    within: Annotated[
        float | None, typer.Option(help="The deadline of each check in seconds, instead of its own.", min=0.1)
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help='One JSON list: [{"name": ..., "status": ..., "message": ..., "advice": ...}, ...].'
        ),
    ] = False,
) -> None:
    """Try the configuration, the model, each stream's first frame, the sink and the disk."""
    from framesift.cli.check import run_checks
    from framesift.cli.check_report import CheckReport
    from framesift.cli.probes import has_hung_probe
    from framesift.clock.clock import SystemClock
    from framesift.config.redact import Redactor
    from framesift.settings import secrets

    settings = _settings(config)
    report = CheckReport(Redactor(secrets(settings)))
    with err.status("trying everything in turn"):
        for finding in run_checks(settings, SystemClock(), within):
            report.add(finding)
    if as_json:
        sys.stdout.write(to_json_text(report.to_data(), indent=2))
    else:
        out.print(report.to_table())
    code = 1 if report.failed else 0
    if has_hung_probe():
        sys.stdout.flush()
        os._exit(code)  # Python would wait for the thread that hangs
    raise typer.Exit(code)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    force: Annotated[bool, typer.Option(help="Overwrite what is there.")] = False,
    state: Annotated[
        Path | None, typer.Option(help="The folder of its spool and of what it collects, instead of FOLDER.")
    ] = None,
) -> None:
    """Write a commented framesift.yaml, its schema for editors, a policy.json, and a rendered clip to begin with."""
    from framesift.cli.initial_files import settings_text, state_folder
    from framesift.demo.scene import Street, write_video
    from framesift.settings import read_template
    from framesift.settings.editor_schema import SCHEMA_FILE, editor_schema

    files = [folder / name for name in ("framesift.yaml", "policy.json", "street.mp4", SCHEMA_FILE)]
    existing = [str(path) for path in files if path.exists()]
    if existing and not force:
        fail(f"already there: {', '.join(existing)}; --force overwrites")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = state_folder(folder) if state is None else state.absolute()
    files[0].write_text(settings_text(chosen), encoding="utf-8")
    files[1].write_text(read_template(files[1].name), encoding="utf-8")
    write_video(Street(frames=240), files[2])
    files[3].write_text(editor_schema(), encoding="utf-8")
    contents = (
        *("cameras, model, sink", "what is worth a label", "a clip to begin with"),
        "by which editors complete and check framesift.yaml",
    )
    for path, what in zip(files, contents, strict=True):
        out.print(f"wrote {path}  [dim]{what}[/]")
    if chosen is not None:
        why = "" if state is not None else f", since no service can write to {folder.resolve()}"
        out.print(f"its spool and what it collects go to {chosen}{why}")
    print_next("check", "run", between=", then ")
    out.print("your camera's address goes into framesift.yaml")


@app.command()
def demo(
    source: Annotated[str | None, typer.Option(help="Your own video, RTSP address or webcam number.")] = None,
    model: Annotated[Path | None, typer.Option(help="An ONNX detector or classifier for your own source.")] = None,
    class_names: Annotated[
        str | None,
        typer.Option(help="Of a model without names: coco, or a file with one name a line, or a dataset's data.yaml."),
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="The folder for what is collected; an earlier demo's is renamed.")
    ] = Path("framesift-demo"),
    seconds: Annotated[float, typer.Option(help="How long to watch a camera.")] = 30.0,
) -> None:
    """Run the whole pipeline on a rendered street, or on your own source; ends with a table and a contact sheet."""
    from framesift.demo.run import DemoError, run_demo

    try:
        code = run_demo(folder, source=source, model=model, class_names=class_names, seconds=seconds, console=out)
    except DemoError as error:
        fail(str(error))
    if source is None:
        print_next("demo --source YOUR_VIDEO_OR_RTSP_OR_0", "init", between=", or ")
    raise typer.Exit(code)


@app.command()
def status(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Print the address of its page with the key for pictures, and open it.")
    ] = False,
    alive: Annotated[bool, typer.Option("--alive", help="Only set the exit code: 0 if the daemon is alive.")] = False,
) -> None:
    """Show the status of a running daemon."""
    import requests

    from framesift.cli.browser import open_in_browser
    from framesift.cli.expected_daemon import ExpectedDaemon, fields_of_header
    from framesift.cli.running_daemon import fetch_page, no_answer_text
    from framesift.cli.status_text import print_status
    from framesift.settings import StatusSettings, find_settings_file

    status_settings = _block(config, "status", StatusSettings)
    if status_settings.bind is None:
        fail("status.bind is null: this daemon has no status server")
    expected = ExpectedDaemon.read(find_settings_file(config, os.environ), os.environ)
    try:
        answer = fetch_page(status_settings, "/healthz" if alive else "/status")
    except requests.RequestException as error:
        fail(no_answer_text(status_settings, error, expected.spool), code=1)
    fields = fields_of_header(answer.headers) if alive else _status_fields(answer, status_settings.bind)
    comparison = expected.compare(fields)
    if comparison.refusal is not None:
        advice = "give each daemon a status.bind of its own; if these settings were changed, restart their daemon"
        fail(f"{status_settings.bind}: {comparison.refusal}; {advice}", code=1)
    if alive:
        raise typer.Exit(0)
    if open_page:
        open_in_browser(status_settings, Path(fields["spool"]))
        return
    try:
        if as_json:
            sys.stdout.write(answer.text + "\n")
        else:
            print_status(fields)
    except KeyError as error:
        fail(f"the running daemon has another version: its status has no {error}; restart it, or use --json", code=1)
    if comparison.note is not None:
        print_note(comparison.note)


def _status_fields(answer: requests.Response, bind: str) -> dict[str, Any]:
    """The fields of /status; ends the command where they are none."""
    try:
        fields = answer.json()
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        fail(f"what answers at {bind} is no framesift: another program has the port of status.bind", code=1)
    return fields


def main() -> None:
    """The entry point. An error that the user can correct is printed as one line, not as a traceback."""
    try:
        app(prog_name="framesift")
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  # its traceback is printed, as Python would
        sys.exit(_exit_status(error))


def _exit_status(error: BaseException) -> int:
    """The exit status for what ended a command. Prints the reason to stderr, unless the command has said it."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    message = _user_error(error) if isinstance(error, Exception) else None
    if message is None:
        traceback.print_exception(error)
        return 1
    why, code = message
    err.print(f"[red]framesift:[/] {escape_text(why)}")
    return code


def _user_error(error: Exception) -> tuple[str, int] | None:
    """The message and the exit code for an error that the user can correct; None for a bug.

    The spool's errors are imported only here: a command that needs no spool loads neither the spool nor cv2.
    """
    if isinstance(error, ModuleNotFoundError):
        advice = "pip install 'framesift[headless]', or use the system's OpenCV (docs/deploy.md, Jetson)"
        return (f"cv2 is missing: {advice}", 1) if error.name == "cv2" else None
    if isinstance(error, PermissionError):
        return f"{error.filename}: permission denied for uid {os.getuid()}", 1
    if isinstance(error, OSError):
        return None if error.filename is None else (f"{error.filename}: {error.strerror}", 1)
    from framesift.spool.records import SpoolBroken, SpoolInUse, SpoolTooNew, SpoolUnusable

    if isinstance(error, (SpoolInUse, SpoolTooNew, SpoolUnusable)):
        return str(error), 2
    return (str(error), 1) if isinstance(error, SpoolBroken) else None
