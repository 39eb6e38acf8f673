"""The folder sink on bad days: crashes, full disks, things in the way, a second process, a folder that is moved."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deliveries import deliver, delivery, detected, detection, folder_sink, jpeg, read_image_folder, read_yolo
from framesift.sinks import Delivered, FailureScope, RetryLater
from framesift.sinks.metadata_file import MetadataFile
from framesift.sinks.own_lines import name_in_line
from rigs.privileges import without_privileges

LINE = "metadata.jsonl"


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond it: a real write ends short, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ids(root: Path) -> list[str]:
    return [row["id"] for row in read_image_folder(root)]


def test_a_line_torn_at_any_byte_is_cut(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    first_bytes = (tmp_path / LINE).stat().st_size
    deliver(sink, delivery(2))
    content = (tmp_path / LINE).read_bytes()

    for size in range(first_bytes, len(content)):
        (tmp_path / LINE).write_bytes(content[:size])
        listing = MetadataFile(tmp_path / LINE)
        listing.refresh()
        # Where only the newline was missing, all of the line is there, and it counts.
        complete = size == len(content) - 1
        assert (f"{2:032x}" in listing) == complete
        assert (tmp_path / LINE).read_bytes() == (content if complete else content[:first_bytes])


def test_what_was_cut_comes_again(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    for number in (1, 2):
        deliver(sink, delivery(number))
    sink.close()
    content = (tmp_path / LINE).read_bytes()
    (tmp_path / LINE).write_bytes(content[:-40])

    assert deliver(folder_sink(tmp_path), delivery(2)) == Delivered()
    assert (tmp_path / LINE).read_bytes() == content


def test_a_last_line_of_zeros_is_cut(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    sink.close()
    with (tmp_path / LINE).open("ab") as file:
        file.write(b"\0" * 300 + b'"prediction": {}}\n')

    assert deliver(folder_sink(tmp_path), delivery(2)) == Delivered()
    assert ids(tmp_path) == [f"{n:032x}" for n in (1, 2)]


def test_lines_of_the_users_own_stay_and_lines_he_took_out_may_come_again(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    for number in (1, 2, 3):
        deliver(sink, delivery(number))
    first, second, third = (tmp_path / LINE).read_text().splitlines(keepends=True)
    reordered = json.dumps(dict(reversed(json.loads(second).items()))) + "\n"
    strange = "no object\n" + "[" * 5000 + '"images/x.jpg"\n{"id": "\\ud800"}\n'
    edited = tmp_path / "edited"  # as most editors do
    edited.write_text(strange + reordered + third + '{"text": "a note without an id"}')
    edited.rename(tmp_path / LINE)

    for number in (1, 2, 3):
        assert deliver(sink, delivery(number)) == Delivered()

    expected = [*strange.splitlines(keepends=True), reordered, third, '{"text": "a note without an id"}\n', first]
    assert (tmp_path / LINE).read_text().splitlines(keepends=True) == expected
    assert name_in_line(strange.splitlines()[1].encode()) is None


def test_a_full_disk_is_later_and_leaves_nothing_half(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    picture = delivery(2, jpeg=jpeg(2) + b"\0" * 100_000)

    with largest_file(50_000):
        outcome = deliver(sink, picture)

    assert isinstance(outcome, RetryLater)
    assert (outcome.scope, outcome.may_have_arrived, outcome.retry_at_s) == (FailureScope.SINK, False, None)
    assert "\n" not in outcome.reason
    assert len(list((tmp_path / "images").glob("*.jpg"))) == 1
    assert deliver(sink, picture) == Delivered()
    assert len(ids(tmp_path)) == 2


def test_a_line_for_which_the_disk_is_full_is_removed(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    while not (tmp_path / LINE).exists() or (tmp_path / LINE).stat().st_size < 8_000:
        deliver(sink, delivery(len(list(tmp_path.glob("images/*.jpg")))))
    before = (tmp_path / LINE).read_bytes()

    with largest_file(len(before) + 10):
        outcome = deliver(sink, delivery(999))

    assert isinstance(outcome, RetryLater)
    assert outcome.scope is FailureScope.SINK
    assert (tmp_path / LINE).read_bytes() == before
    assert deliver(sink, delivery(999)) == Delivered()
    assert ids(tmp_path)[-1] == f"{999:032x}"


def test_a_path_that_is_no_folder_is_reported_and_waited_for(tmp_path: Path) -> None:
    (tmp_path / "collected").write_text("a file")
    for path in (tmp_path / "collected", tmp_path / "collected" / "deeper"):
        sink = folder_sink(path)
        problem = sink.check()
        assert problem is not None
        assert str(tmp_path / "collected") in problem
        outcome = deliver(sink, delivery(1))
        assert isinstance(outcome, RetryLater)
        assert outcome.scope is FailureScope.SINK
        assert str(tmp_path / "collected") in outcome.reason

    (tmp_path / "collected").unlink()
    assert deliver(sink, delivery(1)) == Delivered()


def test_a_folder_without_permission_is_reported_and_waited_for() -> None:
    with tempfile.TemporaryDirectory() as made:  # not below tmp_path, which another user may not even read
        root = Path(made)
        root.chmod(0o555)
        sink = folder_sink(root / "collected")
        with without_privileges():
            problem = sink.check()
            outcome = deliver(sink, delivery(1))
            uid = os.geteuid()
        root.chmod(0o700)

        assert problem == f"{root}: user {uid} may not create a folder in it"
        assert isinstance(outcome, RetryLater)
        assert (outcome.scope, outcome.may_have_arrived) == (FailureScope.SINK, False)
        assert outcome.reason == f"{root / 'collected'}: Permission denied"
        assert deliver(sink, delivery(1)) == Delivered()


def test_a_folder_that_may_not_be_read_is_reported() -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o000)
        with without_privileges():
            problem = folder_sink(root / "deep" / "collected").check()
        root.chmod(0o700)

    assert problem is not None
    assert problem.endswith("Permission denied")


def test_a_check_of_a_sound_folder_leaves_no_trace_in_the_data(tmp_path: Path) -> None:
    assert folder_sink(tmp_path / "not" / "yet").check() is None
    assert not (tmp_path / "not").exists()
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    assert sink.check() is None
    assert len(ids(tmp_path)) == 1
    assert not (tmp_path / ".write-test").exists()


def test_what_stands_in_the_way_of_one_file_is_not_the_whole_sinks_trouble(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    deliver(sink, delivery(1))
    (name,) = (path.name for path in (tmp_path / "images").glob("*.jpg"))
    second = name.replace("120001125Z", "120002125Z").replace(f"{1:032x}", f"{2:032x}")
    (tmp_path / "images" / second).mkdir()

    outcome = deliver(sink, delivery(2))

    assert isinstance(outcome, RetryLater)
    assert (outcome.scope, outcome.may_have_arrived) == (FailureScope.ITEM, False)
    assert deliver(sink, delivery(3)) == Delivered()


@pytest.mark.parametrize("link", ["images", "labels", LINE, ".lock"])
def test_nothing_is_written_through_a_symbolic_link_in_the_folder(tmp_path: Path, link: str) -> None:
    root, elsewhere = tmp_path / "collected", tmp_path / "elsewhere"
    root.mkdir()
    if "." in link:
        elsewhere.write_text("precious")
    else:
        elsewhere.mkdir()
    (root / link).symlink_to(elsewhere)

    sink = folder_sink(root)

    outcome = deliver(sink, delivery(1, detected(detection("car"))))

    assert isinstance(outcome, RetryLater)
    assert (outcome.scope, outcome.may_have_arrived) == (FailureScope.SINK, False)
    assert outcome.reason == f"{root / link}: is a symbolic link, and links are not followed"
    assert list(elsewhere.iterdir()) == [] if elsewhere.is_dir() else elsewhere.read_text() == "precious"
    (root / link).unlink()
    assert deliver(sink, delivery(1, detected(detection("car")))) == Delivered()


@pytest.mark.parametrize(
    "link", ["images/.partial", ".partial", "README.md", "data.yaml", ".write-test", "images/NAME"]
)
def test_a_symbolic_link_where_a_whole_file_is_written_is_replaced(tmp_path: Path, link: str) -> None:
    root, elsewhere = tmp_path / "collected", tmp_path / "elsewhere"
    elsewhere.write_text("names: [car]\n")
    what = delivery(1, detected(detection("car"), detection("dog")))
    deliver(folder_sink(tmp_path / "once"), what)
    (name,) = (path.name for path in (tmp_path / "once" / "images").glob("*.jpg"))
    (root / "images").mkdir(parents=True)
    (root / link.replace("NAME", name)).symlink_to(elsewhere)

    sink = folder_sink(root)
    assert deliver(sink, what) == Delivered()
    assert sink.check() is None

    assert elsewhere.read_text() == "names: [car]\n"
    assert (root / "images" / name).read_bytes() == what.jpeg
    assert not (root / "images" / name).is_symlink()


def test_the_folder_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "collected").symlink_to(tmp_path / "disk")
    assert deliver(folder_sink(tmp_path / "collected"), delivery(1)) == Delivered()
    assert ids(tmp_path / "disk") == [f"{1:032x}"]


def test_a_second_process_gets_an_error_until_the_first_has_left_the_folder(tmp_path: Path) -> None:
    child = _delivering_child(tmp_path)
    assert child.stdout is not None
    child.stdout.readline()
    sink = folder_sink(tmp_path)

    outcome = deliver(sink, delivery(1_000_000))

    assert isinstance(outcome, RetryLater)
    assert outcome.scope is FailureScope.SINK
    assert outcome.reason == sink.check() == f"{tmp_path}: another framesift writes to this folder"
    _kill(child)
    assert deliver(sink, delivery(1_000_000)) == Delivered()


def test_a_folder_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path / "collected")
    deliver(sink, delivery(1, detected(detection("car"), detection("dog"))))
    (tmp_path / "collected").rename(tmp_path / "taken")

    assert deliver(sink, delivery(2, detected(detection("dog")))) == Delivered()

    assert folder_sink(tmp_path / "taken").check() is None
    assert folder_sink(tmp_path / "collected").check() is not None  # `sink` holds the new one
    assert ids(tmp_path / "taken") == [f"{1:032x}"]
    assert ids(tmp_path / "collected") == [f"{2:032x}"]
    assert [[label.class_name for label in labels or []] for labels in read_yolo(tmp_path / "collected").values()] == [
        ["dog"]
    ]


@pytest.mark.parametrize("acknowledged", [1, 4, 11])
def test_sigkill_leaves_everything_acknowledged_and_nothing_half(tmp_path: Path, acknowledged: int) -> None:
    child = _delivering_child(tmp_path)
    assert child.stdout is not None
    acknowledged_numbers = [int(child.stdout.readline()) for _ in range(acknowledged)]
    acknowledged_numbers += [int(line) for line in _kill(child).splitlines()]

    sink = folder_sink(tmp_path)
    assert sink.check() is None
    found = [int(id, 16) for id in ids(tmp_path)]
    assert len(found) == len(set(found))
    assert set(acknowledged_numbers) <= set(found)
    assert len(found) <= len(acknowledged_numbers) + 1
    for number in range(len(acknowledged_numbers) + 5):
        assert deliver(sink, delivery(number)) == Delivered()
    assert sorted(int(id, 16) for id in ids(tmp_path)) == list(range(len(acknowledged_numbers) + 5))
    # A label without its line may be left of the last delivery; it is the one that came again.
    assert len(read_yolo(tmp_path)) == len(acknowledged_numbers) + 5


def _delivering_child(root: Path) -> subprocess.Popen[str]:
    """Delivers 0, 1, 2, ... and prints each number once the sink has answered Delivered."""
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "from itertools import count\n"
        "from deliveries import deliver, delivery, folder_sink\n"
        "from framesift.sinks import Delivered\n"
        "sink = folder_sink(pathlib.Path(sys.argv[1]))\n"
        "for number in count():\n"
        "    assert deliver(sink, delivery(number)) == Delivered()\n"
        "    print(number, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(root), str(Path(__file__).parents[1])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _kill(child: subprocess.Popen[str]) -> str:
    """Kills it, and returns the rest of its output."""
    child.send_signal(signal.SIGKILL)
    assert child.stdout is not None
    output = child.stdout.read()  # not communicate(), which passes over what readline() has read ahead
    assert child.wait(timeout=30) == -signal.SIGKILL
    return output


UNMOUNTED = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from deliveries import deliver, delivery, folder_sink
from framesift.sinks import FailureScope, RetryLater
disk = Path("disk").absolute()
mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
subprocess.run(mount, check=True)
sink = folder_sink(disk / "collected")
deliver(sink, delivery(1))
(disk / "collected").rename(disk / "moved")
deliver(sink, delivery(2))
subprocess.run(["umount", "--lazy", str(disk)], check=True)
for _ in range(2):
    late = sink.deliver(delivery(3), now_s=0.0, within_s=10.0)
    assert isinstance(late, RetryLater), late
    assert late.scope is FailureScope.SINK
    assert late.reason.startswith(f"{disk / 'collected'}: no disk is mounted at {disk} any more"), late.reason
    assert sink.check() == late.reason
    assert not any(disk.iterdir())
subprocess.run(mount, check=True)
deliver(sink, delivery(3))
assert (disk / "collected" / "metadata.jsonl").exists()
"""


def test_a_disk_that_was_pulled_out_is_missed_and_nothing_is_written_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    program = [*alone, sys.executable, "-c", UNMOUNTED, str(Path(__file__).parents[1])]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
