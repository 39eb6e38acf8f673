"""What must not end `framesift run`, and what must not keep it from ending: real processes, disks, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import canaries
from canaries import PASSWORD
from framesift.config.types import ConfigError
from framesift.settings import load
from rigs.daemon import Daemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip

TESTS = Path(__file__).parents[1]
CLIP = {"name": "gate", "source": "clip.mp4"}


def test_a_file_that_is_not_there_does_not_stop_the_other_streams(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    there = {"name": "gate", "source": (tmp_path / "clip.mp4").as_uri()}
    write_configuration(tmp_path, {"streams": [{"name": "yard", "source": "away.mp4"}, there]})
    done = framesift(tmp_path, "run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(collected(tmp_path)) == 5
    (lost,) = (line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "stream_lost")
    assert (lost["stream"], lost["reason"]) == ("yard", "no_file")


def test_a_run_whose_only_file_is_not_there_ends_at_once_with_2(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "yard", "source": "away.mp4"}]})
    done = framesift(tmp_path, "run")
    assert done.returncode == 2
    assert f"streams[0].source: {tmp_path / 'away.mp4'}: the file does not exist" in done.stderr


def test_a_status_port_that_is_in_use_does_not_stop_collecting(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        write_configuration(tmp_path, {"streams": [CLIP], "status": {"bind": bind}})
        done = framesift(tmp_path, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(collected(tmp_path)) == 5
    assert f"can't listen on {bind}: Address already in use by process {os.getpid()} (" in done.stdout


@pytest.mark.exhaustive
def test_a_status_port_that_becomes_free_is_taken_and_until_then_the_page_has_failed(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        clip = {**CLIP, "loop": True, "fps": 5}
        write_configuration(tmp_path, {"streams": [clip], "status": {"bind": bind}})
        daemon = Daemon(tmp_path)
        failed = daemon.wait_for("health", component="status page", state="failed")
        assert f"can't listen on {bind}: Address already in use by process {os.getpid()} (" in failed["why"]
        assert f"stop process {os.getpid()} (" in failed["why"]
        assert "or choose another address, or null" in failed["why"]
    with daemon:
        daemon.wait_for("health", component="status page", state="ok")
        assert framesift(tmp_path, "status").returncode == 0
        assert daemon.stop() == 0


@pytest.mark.parametrize("trouble", ["mount -o remount,ro disk", "dd if=/dev/zero of=disk/fill bs=1M || true"])
def test_a_disk_that_takes_nothing_lets_it_start_and_refuses_frames(tmp_path: Path, trouble: str) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "disk").mkdir()
    spool = {"path": "disk/spool.db", "max_bytes": "4MiB", "min_free_bytes": "1MiB"}
    write_configuration(tmp_path, {"streams": [CLIP], "spool": spool})
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    mount = "mount -t tmpfs -o size=16m tmpfs disk"
    if subprocess.run([*alone, "sh", "-c", mount], cwd=tmp_path, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine doesn't let a test mount a small disk of its own")
    steps = f"{mount} && touch disk/spool.db.lock && ({trouble}) && exec {sys.executable} -m framesift run"
    lines: list[str] = []
    with subprocess.Popen(
        [*alone, "sh", "-c", steps], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if '"ended"' in line:
                # It does not know whether the spool is drained, so it runs until it is stopped.
                process.send_signal(signal.SIGTERM)
    output = "".join(lines)
    assert "Traceback" not in output
    assert '"spool_broken": 5' in output or '"spool_full": 5' in output, output


IN_THE_LOCK = """
import os, signal, sys, threading
from framesift.clock.clock import SystemClock
from framesift.service.systemd import Notifier
from framesift.service.service import Service
from framesift.settings import load
from framesift.telemetry import Telemetry
from pathlib import Path

class Unlucky(SystemClock):
    '''The signal comes while the main loop is about to wait, and holds the event's lock.'''
    def wait(self, event, timeout_s):
        if threading.current_thread() is threading.main_thread():
            with event._cond:
                os.kill(os.getpid(), signal.SIGHUP)
                os.kill(os.getpid(), signal.SIGTERM)
        return super().wait(event, timeout_s)

settings, clock = load(Path("framesift.yaml"), {}), Unlucky()
service = Service(settings, clock=clock, telemetry=Telemetry(clock, settings.log), notifier=Notifier(None))
sys.exit(service.run())
"""


def test_a_signal_at_the_worst_moment_is_obeyed(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    write_configuration(tmp_path, {"streams": [{**CLIP, "loop": True, "pace": "realtime"}]})
    program = [sys.executable, "-c", IN_THE_LOCK]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    assert '"event": "reloaded"' in done.stdout


# A run whose clock can be set forward: by what the program adds to `clock.leap_s`.
LEAPING = """
import json, sys, threading, time, urllib.request, urllib.error
from framesift.clock.clock import SystemClock
from framesift.service.systemd import Notifier
from framesift.service.service import Service
from framesift.settings import load
from framesift.telemetry import Telemetry
from pathlib import Path

class Leaping(SystemClock):
    leap_s = 0.0
    def monotonic(self):
        return super().monotonic() + self.leap_s

settings, clock = load(Path("framesift.yaml"), {}), Leaping()
service = Service(settings, clock=clock, telemetry=Telemetry(clock, settings.log), notifier=Notifier(None))
"""


def test_a_model_that_fails_on_everything_is_reported_and_ends_the_process_after_five_minutes(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "broken.py").write_text(
        "import __main__\ndef make():\n    def predict(_):\n        __main__.clock.leap_s += 20\n"
        "        raise RuntimeError('CUDA error 700')\n    return predict\n"
    )
    model = {"type": "python", "factory": "broken:make", "path": "."}
    write_configuration(tmp_path, {"streams": [{**CLIP, "loop": True}], "model": model})
    program = [sys.executable, "-c", LEAPING + "sys.exit(service.run())"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    states = [line["state"] for line in seen if line["event"] == "health" and line["component"] == "model"]
    assert states == ["degraded", "failed"]
    (failed,) = (line for line in seen if line["event"] == "failed")
    assert "ModelBroken: the model has failed for 300 s" in failed["cause"]
    assert "CUDA error 700" in failed["cause"]


def test_a_clip_of_which_the_model_took_not_one_frame_is_no_success(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "broken.py").write_text("def make():\n    return lambda pixels: 1 / 0\n")
    model = {"type": "python", "factory": "broken:make", "path": "."}
    write_configuration(tmp_path, {"streams": [CLIP], "model": model})
    done = framesift(tmp_path, "run")
    assert done.returncode == 1
    assert "the model gave not one prediction" in done.stdout
    assert '"model_failed": 5' in done.stdout


A_HUNG_MODEL = """
def ask(page):
    try:
        with urllib.request.urlopen(f"http://{settings.status.bind}/{page}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""

def until(page, *words):
    while not all(word in ask(page)[1] for word in words):
        time.sleep(0.1)
    return ask(page)

def watch():
    while not Path("hangs").exists():
        time.sleep(0.1)
    clock.leap_s += 40.0
    until("status", "loop stream gate", "it waits for the model")
    print("EARLY", ask("healthz")[0], flush=True)
    clock.leap_s += 20.0
    for page in ("healthz", "readyz"):
        print("SEEN", *until(page, "loop stream gate: it has not moved"), flush=True)
    until("status", '"failed", "why": "it has not moved')
    service.stop()

threading.Thread(target=watch, daemon=True).start()
sys.exit(service.run())
"""


def test_a_model_that_hangs_is_named_with_its_thread_and_the_stacks_are_logged(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "hangs.py").write_text(
        "import threading\ndef make():\n    def predict(_):\n        open('hangs', 'w').close()\n"
        "        threading.Event().wait()\n    return predict\n"
    )
    model = {"type": "python", "factory": "hangs:make", "path": "."}
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    write_configuration(tmp_path, {"streams": [CLIP], "model": model, "status": {"bind": bind}})
    program = [sys.executable, "-c", LEAPING + A_HUNG_MODEL]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    assert "EARLY 200" in lines, done.stdout + done.stderr
    assert sum(line.startswith("SEEN 503 ") for line in lines) == 2
    silent = [json.loads(line) for line in lines if '"event": "thread_hung"' in line]
    (seen,) = (line for line in silent if "stream gate" in line["threads"])
    (stack,) = (stack for stack in seen["stacks"] if stack.startswith("gate: "))
    assert " < hangs.py:5 predict < models/python.py:" in stack


A_HUNG_MAIN_LOOP = """
went_on = threading.Event()
service = Service(
    settings, clock=clock, telemetry=Telemetry(clock, settings.log), notifier=Notifier(None), progress=went_on.wait
)

def healthz():
    try:
        urllib.request.urlopen(f"http://{settings.status.bind}/healthz", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""
    clock.leap_s += 9.0
    return ""

def watch():
    while "loop main: it has not moved" not in healthz():
        time.sleep(0.1)
    print("NAMED", flush=True)
    went_on.set()
    service.stop()

threading.Thread(target=watch, daemon=True).start()
sys.exit(service.run())
"""


def test_the_main_loop_is_monitored_too_though_it_feeds_the_watchdog(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    write_configuration(tmp_path, {"streams": [CLIP], "status": {"bind": bind}})
    program = [sys.executable, "-c", LEAPING + A_HUNG_MAIN_LOOP]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "NAMED" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


A_HUNG_SINK = """
def health():
    try:
        with urllib.request.urlopen(f"http://{settings.status.bind}/healthz", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0

def watch():
    while health() != 200:
        clock.wait(threading.Event(), 0.1)
    for _ in range(5):  # the worker may not have come to the file that hangs before the first
        clock.leap_s += 60.0
        seen = [health() for _ in range(400)][-10:]  # asking takes its time: no need to wait between
        if set(seen) == {503}:
            break
    print("SEEN", seen, flush=True)
    service.stop()

threading.Thread(target=watch, daemon=True).start()
sys.exit(service.run())
"""


@pytest.mark.torture
def test_a_sink_that_hangs_stops_the_watchdog_and_keeps_nothing_from_stopping(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "collected").mkdir()
    os.mkfifo(tmp_path / "collected" / "metadata.jsonl")  # nobody writes to it: reading hangs
    with socket.create_server(("127.0.0.1", 0)) as free:
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    stream = {**CLIP, "loop": True, "fps": 1}
    write_configuration(tmp_path, {"streams": [stream], "upload": {"workers": 1}, "status": {"bind": bind}})
    program = [sys.executable, "-c", LEAPING + A_HUNG_SINK]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert f"SEEN {[503] * 10}" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


ALL_COMPONENTS = """
import sys
from framesift.clock.clock import SystemClock
from framesift.service.service import Service
from framesift.service.systemd import Notifier
from framesift.settings import load
from framesift.telemetry import Telemetry
from pathlib import Path

settings, clock = load(Path("framesift.yaml"), {}), SystemClock()
def progress():
    print("COMPONENTS", *(name.replace(" ", "_") for name in service.component_names), flush=True)
    service.stop()
service = Service(
    settings, clock=clock, telemetry=Telemetry(clock, settings.log), notifier=Notifier(None),
    record=Path("predictions.jsonl"), progress=progress,
)
sys.exit(service.run())
"""


def test_components_start_in_the_order_that_the_documentation_names(tmp_path: Path) -> None:
    from framesift.service import startup

    numbered_clip(tmp_path / "clip.mp4", frames=5)
    ports = []
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [free.getsockname()[1] for free in (one, other)]
    status, listen = (f"127.0.0.1:{port}" for port in ports)
    sink = {"type": "folder", "path": "collected", "max_bytes": "1GiB"}
    streams = [{**CLIP, "loop": True, "pace": "realtime"}]
    settings = {"streams": streams, "listeners": [{"listen": listen}], "status": {"bind": status}, "sink": sink}
    write_configuration(tmp_path, settings)
    program = [sys.executable, "-c", ALL_COMPONENTS]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("COMPONENTS"))
    started = [name.replace("_", " ").replace(f"listener {listen}", "listeners") for name in line.split()[1:]]
    documented = (startup.__doc__ or "").split("\n\n")[1].split("(and, from the main loop: monitor)")[0]
    names = [name.strip() for name in " ".join(documented.split()).split(",")]
    assert started == [name for name in names if name != "batches"] + ["monitor"]
    assert "component_not_stopped" not in done.stdout


def test_a_listener_whose_port_is_in_use_ends_the_run_with_a_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        write_configuration(tmp_path, {"listeners": [{"listen": listen}]})
        done = framesift(tmp_path, "run")
    assert done.returncode == 1
    assert listen in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


MISTYPED = (
    f"rtsp:/viewer:{PASSWORD}@192.0.2.1/live",
    f"rtsp:viewer:{PASSWORD}@192.0.2.1",
    f"viewer:{PASSWORD}@192.0.2.1/live",
    f"192.0.2.1/live?user=viewer&password={PASSWORD}",
)


@pytest.mark.parametrize("key", ["source", "policy"])
def test_an_address_that_was_mistyped_shows_no_password(tmp_path: Path, key: str) -> None:
    for source in MISTYPED:
        settings = (
            {"streams": [CLIP], "policy": source} if key == "policy" else {"streams": [{**CLIP, "source": source}]}
        )
        write_configuration(tmp_path, settings)
        with pytest.raises(ConfigError) as refused:
            load(tmp_path / "framesift.yaml", {})
        assert not canaries.find_in_text(str(refused.value)), source
    for command in ("run", "check"):  # the rig looks for the password in all that is printed
        assert framesift(tmp_path, command).returncode == 2
