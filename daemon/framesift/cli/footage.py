"""The videos and recordings that `simulate` and `plan` are given, and the model pass over the videos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from framesift.cli.console import err, fail, noun, print_note
from framesift.cli.media_run import parse_start_s

if TYPE_CHECKING:
    from rich.progress import Progress

    from framesift.clock.clock import Clock
    from framesift.settings import Settings, StreamEntry
    from framesift.simulation.contact_pictures import VideoPictures
    from framesift.simulation.footage import Footage, FootageSource
    from framesift.simulation.simulate import NamedPolicy


@dataclass(frozen=True, eq=False)
class OpenFootage:
    """footage: what was given. entries: the streams that the videos stand for, by the number of the source.

    settings: None where only recordings were given, and there are no settings. clock: of the machine.
    """

    footage: Footage
    entries: dict[int, StreamEntry]
    settings: Settings | None
    clock: Clock

    def videos(self) -> dict[int, VideoPictures]:
        """How pictures are read again, by the number of the source, masked as the settings say."""
        from framesift.models import load
        from framesift.privacy.stream_privacy import StreamPrivacy
        from framesift.simulation.contact_pictures import VideoPictures

        found = {}
        for number, entry in self.entries.items():
            assert self.settings is not None  # a video has needed them
            privacy = self.settings.privacy_of(entry)
            detect = None
            if privacy is not None and privacy.detector is not None:
                detect = load(privacy.detector).predict
            of = None if privacy is None else StreamPrivacy(privacy, detect=detect, is_video=True)
            found[number] = VideoPictures(entry, of)
        return found


def open_footage(
    paths: Sequence[Path], config: Path | None, *, stream: str | None, start: str | None, days: float | None
) -> OpenFootage:
    """Everything that was given; runs the model over videos whose predictions are not there yet.

    Ends the command where that is impossible.
    """
    from framesift.clock.clock import SystemClock
    from framesift.simulation.footage import Footage, FootageSource

    clock = SystemClock()
    start_s = None if start is None else parse_start_s(start, clock)
    missing = [path for path in paths if not path.exists()]
    if missing:
        fail(f"{missing[0]}: there is no such file")
    are_recordings = [is_recording(path) for path in paths]
    if stream is not None and all(are_recordings):
        print_note("--stream says what videos stand for: recordings name their streams, and it has no effect")
    settings = _settings(config, is_needed=not all(are_recordings))
    sources: list[FootageSource] = []
    entries: dict[int, StreamEntry] = {}
    for number, (path, is_recorded) in enumerate(zip(paths, are_recordings, strict=True)):
        if is_recorded:
            sources.append(FootageSource(path))
            continue
        assert settings is not None
        entry = entries[number] = _entry(path, settings, stream)
        sources.append(FootageSource(_predicted(entry, settings, clock), path, entry.name))
    if start_s is None and entries:
        today = datetime.fromtimestamp(clock.now().wall_s).replace(hour=0, minute=0, second=0, microsecond=0)
        start_s = (today - timedelta(days=1)).timestamp()
    return OpenFootage(Footage(sources, start_s, days), entries, settings, clock)


def _policy_of(opened: OpenFootage) -> Path:
    """The policy that the streams of the footage have: their own, or the common one."""
    settings = opened.settings
    if settings is None:
        fail("--policy is missing: name a file; framesift policy pull writes a project's own into one")
    policies = {entry.name: entry.policy or settings.policy for entry in opened.entries.values()}
    found = set(policies.values()) or {settings.policy}
    if len(found) > 1:
        fail(f"--policy is missing: the streams {', '.join(policies)} have several policies; name those to try")
    (policy,) = found
    if not isinstance(policy, Path):
        fail("--policy is missing: name a file; framesift policy pull writes a project's own into one")
    own = [one.name for one in settings.streams if one.policy not in (None, policy)]
    if own and not policies:
        print_note(f"{policy} is tried; {', '.join(own)} have policies of their own: --policy names one")
    return policy


def is_recording(path: Path) -> bool:
    """Whether a file has recorded predictions: it begins as a JSON object does. A folder has none."""
    if path.is_dir():
        fail(f"{path}: is a folder; a video or a recording of framesift run --record is expected")
    if not path.stat().st_size:
        fail(f"{path}: is empty")
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_policies(files: Sequence[Path], opened: OpenFootage) -> list[NamedPolicy]:
    """The policies, each with a name of its own; without files, that of the streams. Raises ConfigError."""
    from framesift.cli.policy import read_known
    from framesift.policy import policy as policies
    from framesift.simulation.simulate import NamedPolicy

    files = files or [_policy_of(opened)]
    found: list[NamedPolicy] = []
    for file in files:
        policy = policies.load(file)
        name = str(file)
        if any(one.name == name for one in found):
            fail(f"--policy {file} is given twice")
        found.append(NamedPolicy(name, policy, read_known(policy)))
    return found


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress bar on stderr; nothing where that is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        yield shown


def _settings(config: Path | None, *, is_needed: bool) -> Settings | None:
    from framesift import settings
    from framesift.config.errors import ConfigError

    try:
        path = settings.find_settings_file(config, os.environ)
    except ConfigError as error:
        if not is_needed:
            return None
        fail(f"a video needs the model of the settings: {error}")
    if not is_needed and config is None and not path.exists():
        return None
    try:
        return settings.load(path, os.environ)
    except ConfigError as error:
        fail(str(error))


def _entry(path: Path, settings: Settings, stream: str | None) -> StreamEntry:
    """The stream for which a video stands: the one that is named, or that reads it, or the only one there is."""
    named = {one.name: one for one in settings.streams}
    if stream is not None and stream not in named:
        fail(f"--stream {stream}: the settings have no such stream; they have {', '.join(named)}")
    reading = [one for one in settings.streams if one.is_path and one.path.resolve() == path.resolve()]
    found = named[stream] if stream is not None else next(iter([*reading, *settings.streams]), None)
    if found is None:
        fail("streams: missing: a video stands for one of the streams, with its model and its privacy")
    if stream is None and not reading and len(settings.streams) > 1:
        fail(f"--stream is missing: which of {', '.join(named)} does {path} stand for?")
    kept = {"name", "fps", "tags", "rotate", "decode", "threads", "show_damaged", "model", "policy", "privacy"}
    given = {key: getattr(found, key) for key in kept if key in found.model_fields_set}
    return type(found)(source=str(path.absolute()), **given)


def _predicted(entry: StreamEntry, settings: Settings, clock: Clock) -> Path:
    """The recording of the model pass over a video, which is made now if it is not there."""
    from framesift.models import ModelLoadError, load
    from framesift.simulation.errors import SimulationError
    from framesift.simulation.model_pass import recording_of, run_model

    model_settings = entry.model or settings.model
    assert model_settings is not None  # the settings were checked
    recording = recording_of(entry, model_settings)
    if recording.exists():
        return recording
    network = settings.network
    try:
        model = load(model_settings, ca_file=network.ca_file, proxy=network.proxy_address)
    except ModelLoadError as error:
        fail(str(error))
    try:
        with progress() as shown:
            task = shown.add_task(f"{entry.path.name}: the model looks at each frame", total=None)
            made = run_model(entry, model, recording, clock=clock, on_frame=lambda _: shown.advance(task))
    except SimulationError as error:
        fail(str(error), code=1)
    finally:
        model.close()
    kept = noun(made.frames, "prediction is", "predictions are")
    print_note(f"{made.frames} {kept} kept in {recording.name}, beside the video, for the next time")
    if made.failed:
        failed = noun(made.failed, "frame, which is", "frames, which are")
        print_note(f"the model has failed on {made.failed} {failed} left out")
    return recording
