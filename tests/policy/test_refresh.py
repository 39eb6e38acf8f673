"""All the policies of a run: what holds at the start, what is kept for one without network, how they stay fresh."""

from __future__ import annotations

import json
import os
import random
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from canaries import KEY
from clocks import ManualClock
from framesift.clock.clock import MAX_WAIT_S, SystemClock
from framesift.config.errors import ConfigError
from framesift.http_client.client import HttpClient
from framesift.policy import (
    CurrentPolicy,
    Policies,
    PolicyEvent,
    PolicyEventKind,
    PolicySettings,
    PolicySourceStatus,
    SourceContext,
)
from framesift.policy.policy import Policy, digest
from framesift.prediction.prediction import Task
from framesift.roboflow import RoboflowClient
from policy.test_policies import PARKING, POLICY, options
from rigs.document_server import DocumentServer, Page
from rigs.platform import Delay, Fault, Html, Platform, Status

OTHER = {**POLICY, "tags": ["other"]}
OFF: dict[str, Any] = {"enabled": False}


class Observer:
    """Records all events, and accepts every policy."""

    def __init__(self) -> None:
        self.events: list[PolicyEvent] = []

    def on_policy_event(self, event: PolicyEvent) -> None:
        self.events.append(event)

    def policy_problems(self, policy: Policy) -> Sequence[str]:  # noqa: ARG002
        return ()


class OddPath(type(Path())):  # type: ignore[misc]  # which class of paths it is depends on the system
    """The path of a file that can be opened once; then opening it raises what no file system does."""

    opened = 0

    def open(self, *arguments: Any, **options: Any) -> Any:
        OddPath.opened += 1
        if OddPath.opened > 1:
            raise KeyError(self.name)
        return super().open(*arguments, **options)


def reload(run: Run) -> tuple[str, ...]:
    """Reload the files of a run; its answer."""
    answers: list[tuple[str, ...]] = []
    run.policies.reload(answers.append)
    run.policies.refresh_due()
    (answer,) = answers
    return answer


class Run:
    """The policies of one run, on a clock of their own, with all events recorded."""

    def __init__(
        self,
        folder: Path,
        common: object,
        own: dict[str, object] | None = None,
        *,
        platform: Platform | None = None,
        enabled: bool = True,
        clock: ManualClock | None = None,
        task: Task | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.observer = Observer()
        self.events = self.observer.events
        self.failed: list[BaseException] = []
        self.clock = ManualClock() if clock is None else clock
        web = HttpClient()
        sources: dict[str, PolicySettings] = {stream: options(value) for stream, value in (own or {}).items()}
        client = None if platform is None else RoboflowClient(web, api_key=KEY, api_url=platform.url)
        self.policies = Policies(
            common if isinstance(common, OddPath) else options(common),
            sources,
            context=SourceContext(web, client, self.clock, task),
            folder=folder,
            rng=chance or random.Random(5),
            enabled=enabled,
            observer=self.observer,
            on_failure=self.failed.append,
        )

    def begun(self, within_s: float = 30.0) -> Run:
        self.policies.load_initial(within_s)
        return self

    def of(self, stream: str = "gate") -> CurrentPolicy:
        found = self.policies.current_for(stream)
        assert found is not None
        return found

    def news(self) -> list[PolicyEventKind]:
        """The kinds of the events since the last call."""
        found = [event.kind for event in self.events]
        self.events.clear()
        return found

    def pass_s(self, seconds: float) -> float:
        self.clock.advance(seconds)
        return self.policies.refresh_due()


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as found:
        found.add_project("parking", active_learning=POLICY)
        yield found
        assert found.bugs == []


@pytest.fixture
def documents() -> Iterator[DocumentServer]:
    with DocumentServer() as found:
        found.pages["/p"] = Page(json.dumps(POLICY).encode())
        yield found


def written(folder: Path, name: str, data: object) -> str:
    (folder / name).write_text(json.dumps(data))
    return str(folder / name)


def kept_file(folder: Path) -> Path:
    (path,) = folder.glob("policy-*.json")
    return path


# -- the start


def test_all_streams_use_the_common_policy_but_those_that_have_their_own(tmp_path: Path, platform: Platform) -> None:
    common, own = written(tmp_path, "common.json", POLICY), written(tmp_path, "own.json", OTHER)
    run = Run(tmp_path, common, {"yard": own, "lane": PARKING, "hall": common}, platform=platform).begun()
    assert run.of("gate") is run.of("hall")
    assert (run.of("gate").source, run.of("yard").source) == (common, own)
    assert run.of("lane").source == "roboflow project parking"
    assert run.of("yard").policy.tags == ("other",)
    assert [(held.source, held.streams) for held in run.policies.statuses()] == [
        (common, ()),
        (own, ("yard",)),
        ("roboflow project parking", ("lane",)),
    ]
    assert run.news() == []


def test_streams_with_the_same_source_share_it_and_it_is_asked_once(tmp_path: Path, platform: Platform) -> None:
    common = written(tmp_path, "common.json", POLICY)
    run = Run(tmp_path, common, {"a": PARKING, "b": dict(PARKING)}, platform=platform).begun()
    assert run.of("a") is run.of("b")
    assert len(platform.asked("active_learning")) == 1
    assert run.policies.statuses()[1].streams == ("a", "b")


def test_a_current_policy_has_its_hash_and_when_it_was_fetched(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    standing = run.of()
    assert standing.hash == digest(standing.policy)
    assert standing.fetched_at_s == run.clock.now().wall_s
    assert (standing.workspace, standing.project, standing.from_disk) == (platform.workspace, "parking", False)


def test_a_file_that_is_no_policy_ends_the_start(tmp_path: Path) -> None:
    good, bad = written(tmp_path, "good.json", POLICY), written(tmp_path, "bad.json", {"enabled": 5})
    with pytest.raises(ConfigError, match=r"bad\.json:1: enabled: 5 is not allowed"):
        Run(tmp_path, good, {"yard": bad}).begun()


def test_all_are_asked_at_the_same_time(tmp_path: Path, platform: Platform) -> None:
    gate = threading.Barrier(3, timeout=30)

    class Together(ManualClock):
        """Lets nobody's first question out before all are about to ask."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: set[int] = set()

        def monotonic(self) -> float:
            me = threading.get_ident()
            if threading.current_thread().name.startswith("policy-") and me not in self.seen:
                self.seen.add(me)
                gate.wait()
            return super().monotonic()

    for name in ("a", "b", "c"):
        platform.add_project(name, active_learning=POLICY)
    own: dict[str, object] = {name: {"from": "roboflow", "project": name} for name in ("a", "b", "c")}
    common = written(tmp_path, "common.json", POLICY)
    run = Run(tmp_path, common, own, platform=platform, clock=Together()).begun()
    assert [run.of(name).project for name in own] == ["a", "b", "c"]


def test_more_sources_than_threads_are_all_asked(tmp_path: Path, platform: Platform) -> None:
    names = [f"p{n}" for n in range(30)]
    for name in names:
        platform.add_project(name, active_learning=POLICY)
    own: dict[str, object] = {name: {"from": "roboflow", "project": name} for name in names}
    run = Run(tmp_path, written(tmp_path, "common.json", OFF), own, platform=platform).begun()
    assert [run.of(name).project for name in names] == names


def test_a_platform_that_does_not_answer_in_time_holds_up_the_start_no_longer(tmp_path: Path) -> None:
    with Platform() as platform:
        platform.add_project("parking", active_learning=POLICY)
        platform.orders.add(Fault("any", Delay(60.0), times=None))
        clock = SystemClock()
        began_s = clock.monotonic()
        observer = Observer()
        web = HttpClient()
        policies = Policies(
            options(PARKING),
            {},
            context=SourceContext(web, RoboflowClient(web, api_key=KEY, api_url=platform.url), clock),
            folder=tmp_path,
            rng=random.Random(1),
            enabled=True,
            observer=observer,
            on_failure=lambda _: None,
        )
        policies.load_initial(0.3)
        assert clock.monotonic() - began_s < 5.0
        assert policies.current_for("gate") is None
        assert [event.kind for event in observer.events] == [PolicyEventKind.UNAVAILABLE]


def test_without_an_answer_and_without_a_cached_policy_there_is_none_until_one_arrives(
    tmp_path: Path, platform: Platform
) -> None:
    platform.go_away()
    run = Run(tmp_path, PARKING, platform=platform).begun()
    assert run.policies.current_for("gate") is None
    (event,) = run.events
    assert (event.kind, event.current, event.source) == (PolicyEventKind.UNAVAILABLE, None, "roboflow project parking")
    (held,) = run.policies.statuses()
    assert held == PolicySourceStatus("roboflow project parking", "", (), None, event.why)
    platform.come_back()
    run.events.clear()
    assert run.pass_s(30.0) > 800.0
    assert run.of().policy.enabled
    assert run.news() == [PolicyEventKind.RECOVERED, PolicyEventKind.CHANGED]
    assert run.policies.statuses()[0].problem is None


# -- kept on disk


def test_the_cached_policy_is_used_where_the_platform_is_unavailable_at_the_start(
    tmp_path: Path, platform: Platform
) -> None:
    weird = {**POLICY, "from_the_future": 1, "target_project": "lot"}
    platform.add_project("parking", "instance-segmentation", active_learning=weird)
    first = Run(tmp_path / "state", PARKING, platform=platform, task=Task.OBJECT_DETECTION).begun()
    assert first.of().notes
    platform.go_away()
    later = ManualClock(wall_s=first.clock.now().wall_s + 86_400.0)
    run = Run(tmp_path / "state", PARKING, platform=platform, clock=later).begun()
    assert run.of() == replace(first.of(), from_disk=True)
    assert [event.current for event in run.events] == [run.of()]
    assert run.news() == [PolicyEventKind.UNAVAILABLE]
    platform.come_back()
    run.pass_s(30.0)
    assert not run.of().from_disk
    assert run.of().fetched_at_s == run.clock.now().wall_s


def test_the_first_answer_that_says_the_same_is_no_change(tmp_path: Path, platform: Platform) -> None:
    Run(tmp_path, PARKING, platform=platform).begun()
    platform.go_away()
    run = Run(tmp_path, PARKING, platform=platform).begun()
    policy = run.of().policy
    platform.come_back()
    run.events.clear()
    run.pass_s(30.0)
    assert run.of().policy is policy
    assert run.news() == [PolicyEventKind.RECOVERED]


def test_a_disabled_policy_is_cached_with_its_reason(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("parking")
    first = Run(tmp_path, PARKING, platform=platform).begun()
    platform.go_away()
    run = Run(tmp_path, PARKING, platform=platform).begun()
    assert run.of().notes == first.of().notes != ()
    assert not run.of().policy.enabled


def test_no_secret_is_cached_neither_in_the_file_nor_in_its_name(tmp_path: Path, documents: DocumentServer) -> None:
    address = f"http://me:{KEY}@127.0.0.1:{documents.port}/p?token={KEY}&api_key={KEY}"
    run = Run(tmp_path, address).begun()
    assert run.of().policy.enabled
    path = kept_file(tmp_path)
    assert KEY not in path.read_text() + path.name
    # Nor can it be guessed from the name: with another token it is the same file.
    Run(tmp_path, address.replace(KEY, "another-token")).begun()
    assert kept_file(tmp_path) == path


def test_each_source_is_cached_in_a_file_of_its_own(
    tmp_path: Path, documents: DocumentServer, platform: Platform
) -> None:
    documents.pages["/q/p"] = Page(json.dumps(OTHER).encode())
    own: dict[str, object] = {
        "a": f"{documents.url}/q/p",
        "b": f"{documents.url}/p?camera=3",
        "c": PARKING,
        "d": {**PARKING, "model_id": "parking/3"},
    }
    run = Run(tmp_path, f"{documents.url}/p", own, platform=platform).begun()
    assert len(list(tmp_path.glob("policy-*.json"))) == 5
    scopes = [run.policies.scope_of(stream) for stream in ("gate", "a", "b", "c", "d")]
    assert scopes[0] == ""
    assert len(set(scopes)) == 5
    assert [scope.rpartition("-")[0] for scope in scopes[1:]] == ["p", "p", "parking", "parking"]


def test_a_scope_is_the_same_at_every_start_and_names_the_file(tmp_path: Path) -> None:
    own, common = written(tmp_path, "night shift.json", POLICY), written(tmp_path, "p.json", POLICY)
    scopes = {Run(tmp_path, common, {"yard": own}).begun().policies.scope_of("yard") for _ in range(2)}
    (scope,) = scopes
    assert scope.startswith("night-shift.json-")
    other = Run(tmp_path, common, {"a": written(tmp_path, "a.json", POLICY), "yard": own}).begun()
    assert other.policies.scope_of("yard") == scope


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x00" * 100,
        b"5",
        b'{"enabled": true}',
        b"[" * 100_000,
        b'{"source": "x", "fetched_at_s": 1, "workspace": null, "project": null, "notes": []}',
        b'{"source": "x", "fetched_at_s": 1, "workspace": null, "project": null, "notes": [],'
        b' "document": {"enabled": 7}}',
        b'{"source": "x", "fetched_at_s": -1, "workspace": "a/b", "project": 5, "notes": "n",'
        b' "document": {"enabled": false}}',
        b" " * ((1 << 20) + 1),
    ],
    ids=["empty", "cut", "zeros", "number", "bare policy", "deep", "no document", "bad policy", "bad fields", "huge"],
)
def test_a_cached_policy_that_is_damaged_is_reported_and_not_used(
    tmp_path: Path, platform: Platform, content: bytes
) -> None:
    Run(tmp_path, PARKING, platform=platform).begun()
    kept_file(tmp_path).write_bytes(content)
    platform.go_away()
    run = Run(tmp_path, PARKING, platform=platform).begun()
    assert run.policies.current_for("gate") is None
    assert [event.why.startswith("the cached policy") for event in run.events] == [True, False]
    assert run.news() == [PolicyEventKind.NOT_CACHED, PolicyEventKind.UNAVAILABLE]
    platform.come_back()
    run.pass_s(30.0)
    platform.go_away()
    assert Run(tmp_path, PARKING, platform=platform).begun().of().from_disk


def test_half_characters_in_parts_that_are_left_out_can_be_cached(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("parking", active_learning={**POLICY, "x": "\ud800", "tags": ["\udfff"]})
    run = Run(tmp_path, PARKING, platform=platform).begun()
    platform.go_away()
    again = Run(tmp_path, PARKING, platform=platform).begun()
    assert again.of().left_out == run.of().left_out
    assert len(run.of().left_out) == 2


def test_a_cache_that_can_not_be_written_is_reported_once_and_tried_again(tmp_path: Path, platform: Platform) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file, where a folder should be")
    run = Run(blocked, PARKING, platform=platform).begun()
    assert run.of().policy.enabled
    assert [(event.kind, "can't be saved" in event.why) for event in run.events] == [(PolicyEventKind.NOT_CACHED, True)]
    run.events.clear()
    run.pass_s(1000.0)
    assert run.news() == []
    blocked.unlink()
    run.pass_s(1000.0)
    assert run.news() == []
    assert kept_file(blocked).exists()


def test_an_unchanged_policy_is_written_once_a_day(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    path = kept_file(tmp_path)
    os.utime(path, (1, 1))
    for _ in range(80):
        run.pass_s(1000.0)
    assert path.stat().st_mtime == 1
    for _ in range(10):
        run.pass_s(1000.0)
    assert path.stat().st_mtime > 1
    assert json.loads(path.read_text())["fetched_at_s"] > run.clock.now().wall_s - 86_400.0


# -- as time passes


def test_the_source_is_asked_every_fifteen_minutes_more_or_less(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    waits = []
    for _ in range(30):
        wait_s = run.policies.refresh_due()
        waits.append(wait_s)
        asked = len(platform.asked("active_learning"))
        run.clock.advance(wait_s - 0.001)
        run.policies.refresh_due()
        assert len(platform.asked("active_learning")) == asked
        run.pass_s(0.002)
        assert len(platform.asked("active_learning")) == asked + 1
    assert min(waits) >= 810.0
    assert max(waits) <= 990.0
    assert max(waits) - min(waits) > 60.0


def test_a_new_policy_is_used_at_once_and_reported(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    before = run.of()
    platform.add_project("parking", active_learning=OTHER)
    run.pass_s(990.0)
    assert run.of().policy.tags == ("other",)
    assert run.of().hash != before.hash
    (event,) = run.events
    assert (event.kind, event.current, event.streams, event.why) == (PolicyEventKind.CHANGED, run.of(), (), "")
    platform.go_away()
    assert Run(tmp_path, PARKING, platform=platform).begun().of().policy == run.of().policy


def test_the_same_policy_is_the_same_object_with_a_new_date(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    before = run.of()
    run.pass_s(990.0)
    assert run.of() == replace(before, fetched_at_s=run.clock.now().wall_s)
    assert run.of().policy is before.policy
    assert run.news() == []


def test_another_reason_not_to_collect_is_reported(tmp_path: Path, platform: Platform) -> None:
    platform.add_project("parking")
    run = Run(tmp_path, PARKING, platform=platform).begun()
    platform.add_project("parking", active_learning=OFF)
    run.pass_s(990.0)
    assert run.of().notes == ()
    assert run.news() == [PolicyEventKind.CHANGED]


def test_what_is_no_policy_does_not_replace_one_and_is_reported_once(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    before = run.of()
    platform.add_project("parking", active_learning={"enabled": True})
    wait_s = run.pass_s(990.0)
    assert run.of() == before
    (event,) = run.events
    assert (event.kind, event.current) == (PolicyEventKind.REJECTED, before)
    assert "roboflow project parking: enabled is true, but missing: persist_predictions" in event.why
    assert run.policies.statuses()[0].problem == event.why
    assert 15.0 <= wait_s <= 30.0
    run.pass_s(990.0)
    assert len(run.events) == 1
    platform.add_project("parking", active_learning=POLICY)
    run.events.clear()
    run.pass_s(990.0)
    assert run.news() == [PolicyEventKind.RECOVERED]


def test_a_refused_policy_is_not_what_the_next_start_finds(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    platform.add_project("parking", active_learning={"enabled": True})
    run.pass_s(990.0)
    platform.go_away()
    assert Run(tmp_path, PARKING, platform=platform).begun().of().policy == run.of().policy


def test_a_source_that_is_away_is_asked_every_minute_at_least(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    before = run.of()
    platform.orders.add(Fault("any", Status(500), times=None))
    waits = [run.pass_s(990.0)]
    for _ in range(9):
        waits.append(run.pass_s(waits[-1]))
    for wait_s, longest_s in zip(waits, (30, 60, 60, 60, 60, 60, 60, 60, 60, 60), strict=True):
        assert longest_s / 2 <= wait_s <= longest_s
    assert run.of() == before
    assert run.news() == [PolicyEventKind.UNAVAILABLE]
    platform.orders.clear()
    assert run.pass_s(900.0) >= 810.0
    assert run.news() == [PolicyEventKind.RECOVERED]
    platform.orders.add(Fault("any", Status(500)))
    assert run.pass_s(990.0) <= 30.0


@pytest.mark.parametrize("status", [401, 402, 403, 423])
def test_a_key_that_is_refused_is_tried_every_five_minutes_and_at_a_reload(
    tmp_path: Path, platform: Platform, status: int
) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    platform.orders.add(Fault("any", Status(status), times=None))
    wait_s = run.pass_s(990.0)
    for _ in range(3):
        assert 240.0 <= wait_s <= 300.0
        wait_s = run.pass_s(wait_s)
    platform.orders.clear()
    run.news()
    run.policies.reload()
    run.policies.refresh_due()
    assert run.news() == [PolicyEventKind.RECOVERED]


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_an_address_refuses_are_tried_every_five_minutes(
    tmp_path: Path, documents: DocumentServer, status: int
) -> None:
    run = Run(tmp_path, f"{documents.url}/p").begun()
    documents.pages["/p"] = Page(b"", status=status)
    wait_s = run.pass_s(990.0)
    for _ in range(3):
        assert 240.0 <= wait_s <= 300.0
        wait_s = run.pass_s(wait_s)


def test_a_fleet_does_not_come_back_at_one_time(tmp_path: Path, platform: Platform) -> None:
    platform.go_away()
    waits = {
        Run(tmp_path, PARKING, platform=platform, chance=random.Random(n)).begun().policies.refresh_due()
        for n in range(10)
    }
    assert len(waits) == 10


def test_a_source_that_wants_to_be_left_alone_is(tmp_path: Path, platform: Platform) -> None:
    platform.orders.add(Fault("any", Status(429, {"Retry-After": "600"})))
    run = Run(tmp_path, PARKING, platform=platform).begun()
    assert run.policies.refresh_due() == pytest.approx(600.0)


def test_each_other_reason_is_reported_and_a_captive_portal_is_one(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    platform.orders.add(Fault("any", Status(500), times=2))
    run.pass_s(990.0)
    run.pass_s(30.0)
    platform.orders.add(Fault("any", Html(), times=1))
    run.pass_s(60.0)
    assert run.news() == [PolicyEventKind.UNAVAILABLE, PolicyEventKind.UNAVAILABLE]


def test_one_source_in_trouble_is_no_trouble_of_the_others(
    tmp_path: Path, platform: Platform, documents: DocumentServer
) -> None:
    run = Run(tmp_path, PARKING, {"yard": f"{documents.url}/p"}, platform=platform).begun()
    platform.go_away()
    documents.pages["/p"] = Page(json.dumps(OTHER).encode())
    run.pass_s(990.0)
    assert run.of("yard").policy.tags == ("other",)
    assert [(event.kind, event.streams) for event in run.events] == [
        (PolicyEventKind.UNAVAILABLE, ()),
        (PolicyEventKind.CHANGED, ("yard",)),
    ]


def test_a_run_with_files_only_refreshes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, written(tmp_path, "p.json", POLICY)).begun()
    assert run.policies.refresh_due() == float("inf")
    run.policies.start()
    assert run.policies.idle_s() == 0.0
    assert run.policies.stop(1.0)
    assert list(tmp_path.glob("policy-*")) == []


# -- reload


def test_a_reload_reads_the_files_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "p.json", POLICY)
    run = Run(tmp_path, path).begun()
    before = run.of().policy
    run.policies.reload()
    assert run.of().policy is before
    assert run.news() == []
    written(tmp_path, "p.json", OTHER)
    run.policies.reload()
    assert run.of().policy.tags == ("other",)
    assert run.news() == [PolicyEventKind.CHANGED]


def test_a_reload_with_a_bad_file_changes_nothing_at_all(tmp_path: Path) -> None:
    common, own = written(tmp_path, "a.json", POLICY), written(tmp_path, "b.json", POLICY)
    run = Run(tmp_path, common, {"yard": own}).begun()
    before = run.policies.statuses()
    written(tmp_path, "a.json", OTHER)
    (tmp_path / "b.json").write_text("{")
    (why,) = reload(run)
    assert "b.json:1: column 2: is not JSON" in why
    assert [status.current for status in run.policies.statuses()] == [status.current for status in before]
    assert [status.problem for status in run.policies.statuses()] == [None, why]
    assert run.news() == [PolicyEventKind.REJECTED]


def test_a_file_that_was_refused_has_its_problem_until_it_is_mended(tmp_path: Path) -> None:
    path = written(tmp_path, "p.json", POLICY)
    run = Run(tmp_path, path).begun()
    (tmp_path / "p.json").write_text("{")
    for _ in range(2):
        assert len(reload(run)) == 1
    assert run.news() == [PolicyEventKind.REJECTED]
    (tmp_path / "p.json").write_text('{"enabled": 7}')
    assert "enabled" in reload(run)[0]
    assert "enabled" in str(run.policies.statuses()[0].problem)
    written(tmp_path, "p.json", POLICY)
    assert reload(run) == ()
    assert run.policies.statuses()[0].problem is None
    assert run.news() == [PolicyEventKind.REJECTED, PolicyEventKind.RECOVERED]


def test_a_reload_is_answered_only_when_the_source_was_read(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    answers: list[tuple[str, ...]] = []
    run.policies.reload(answers.append)
    assert answers == []
    run.policies.refresh_due()
    assert answers == [()]
    platform.add_project("parking", active_learning={**POLICY, "jpeg_compression_level": 900})
    for count in (2, 3):  # the same refusal twice is answered twice
        run.policies.reload(answers.append)
        run.policies.refresh_due()
        assert len(answers) == count
        assert "jpeg_compression_level" in answers[-1][0]
    platform.go_away()
    run.policies.reload(answers.append)
    run.policies.refresh_due()
    assert len(answers[3]) == 1
    run.policies.refresh_due()
    assert len(answers) == 4


def test_reloads_that_come_before_the_source_was_read_are_all_answered(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    answers: list[tuple[str, ...]] = []
    for _ in range(3):
        run.policies.reload(answers.append)
    run.policies.refresh_due()
    assert answers == [(), (), ()]


def test_what_a_reload_was_answered_with_is_forgotten_by_the_next_one(tmp_path: Path) -> None:
    run = Run(tmp_path, written(tmp_path, "p.json", POLICY)).begun()
    answers: list[tuple[str, ...]] = []
    kept = []
    for _ in range(5):
        on_read = partial(answers.append)
        kept.append(weakref.ref(on_read))
        run.policies.reload(on_read)
    del on_read
    assert answers == [()] * 5
    assert [one() is None for one in kept] == [True] * 4 + [False]


def test_a_reload_survives_whatever_reading_a_file_raises(tmp_path: Path) -> None:
    run = Run(tmp_path, OddPath(written(tmp_path, "p.json", POLICY))).begun()
    before = run.of()
    (why,) = reload(run)
    assert "p.json: KeyError: 'p.json'" in why
    assert run.of() is before


def test_a_reload_fetches_the_others_at_once_whatever_they_answered_before(tmp_path: Path, platform: Platform) -> None:
    platform.orders.add(Fault("any", Status(429, {"Retry-After": "3600"})))
    run = Run(tmp_path, PARKING, platform=platform).begun()
    assert run.policies.current_for("gate") is None
    run.policies.reload()
    assert run.policies.refresh_due() > 800.0
    assert run.of().policy.enabled


# -- time zones


def test_all_files_of_a_run_keep_the_same_time_zone(tmp_path: Path) -> None:
    paris = written(tmp_path, "paris.json", {**POLICY, "time_zone": "Europe/Paris"})
    utc = written(tmp_path, "utc.json", POLICY)
    with pytest.raises(ConfigError) as refusal:
        Run(tmp_path, paris, {"yard": utc}).begun()
    assert str(refusal.value) == (
        f"{utc}: time_zone: UTC differs from Europe/Paris in {paris}: all policies of a run must have the same"
    )
    off = written(tmp_path, "off.json", OFF)
    assert Run(tmp_path, off, {"yard": paris}).begun().policies.time_zone == "Europe/Paris"
    assert Run(tmp_path, off).begun().policies.time_zone == "UTC"


def test_another_time_zone_needs_a_restart(tmp_path: Path, platform: Platform) -> None:
    path = written(tmp_path, "p.json", POLICY)
    run = Run(tmp_path, path, {"yard": PARKING}, platform=platform).begun()
    before = run.policies.statuses()
    written(tmp_path, "p.json", {**POLICY, "time_zone": "Europe/Paris"})
    assert "time_zone: changing UTC to Europe/Paris needs a restart" in reload(run)
    platform.add_project("parking", active_learning={**POLICY, "time_zone": "Asia/Tokyo"})
    run.pass_s(990.0)
    assert run.of() == before[0].current
    assert run.of("yard") == before[1].current
    assert [event.why for event in run.events] == [
        "time_zone: changing UTC to Europe/Paris needs a restart",
        "time_zone: changing UTC to Asia/Tokyo needs a restart",
    ]
    assert run.news() == [PolicyEventKind.REJECTED, PolicyEventKind.REJECTED]


def test_what_others_wrote_in_another_time_zone_does_not_end_the_start(tmp_path: Path, platform: Platform) -> None:
    path = written(tmp_path, "p.json", POLICY)
    Run(tmp_path, path, {"yard": PARKING}, platform=platform).begun()
    platform.add_project("parking", active_learning={**POLICY, "time_zone": "Asia/Tokyo"})
    run = Run(tmp_path, path, {"yard": PARKING}, platform=platform).begun()
    assert run.of("yard").from_disk
    assert run.of("yard").policy.time_zone == "UTC"
    assert [event.kind for event in run.events] == [PolicyEventKind.REJECTED]
    assert f"roboflow project parking: time_zone: Asia/Tokyo differs from UTC in {path}" in run.events[0].why


def test_the_first_policy_that_arrives_sets_the_time_zone(tmp_path: Path, documents: DocumentServer) -> None:
    documents.pages["/p"] = Page(b"later", 503)
    run = Run(tmp_path, f"{documents.url}/p", {"yard": written(tmp_path, "off.json", OFF)}).begun()
    assert run.policies.time_zone == "UTC"
    documents.pages["/p"] = Page(json.dumps({**POLICY, "time_zone": "Asia/Tokyo"}).encode())
    run.pass_s(30.0)
    assert run.policies.time_zone == "Asia/Tokyo"
    written(tmp_path, "off.json", POLICY)
    assert "changing Asia/Tokyo to UTC" in reload(run)[0]


def test_a_policy_that_is_switched_off_moves_no_time_zone(tmp_path: Path, platform: Platform) -> None:
    paris = written(tmp_path, "paris.json", {**POLICY, "time_zone": "Europe/Paris"})
    platform.add_project("parking", active_learning=OFF)
    run = Run(tmp_path, paris, {"yard": PARKING}, platform=platform).begun()
    assert run.policies.time_zone == "Europe/Paris"
    platform.add_project("parking", active_learning={**OFF, "tags": ["still off"]})
    run.pass_s(990.0)
    assert run.news() == [PolicyEventKind.CHANGED]
    assert run.policies.time_zone == "Europe/Paris"


def test_a_reload_that_is_refused_leaves_the_time_zone_open(tmp_path: Path) -> None:
    first, second = written(tmp_path, "a.json", OFF), written(tmp_path, "b.json", OFF)
    run = Run(tmp_path, first, {"yard": second}).begun()
    written(tmp_path, "a.json", {**POLICY, "time_zone": "Europe/Paris"})
    written(tmp_path, "b.json", POLICY)
    assert "changing Europe/Paris to UTC" in reload(run)[0]
    written(tmp_path, "a.json", POLICY)
    run.policies.reload()
    assert run.policies.time_zone == "UTC"


# -- switched off


def test_where_collecting_is_disabled_nothing_is_fetched(tmp_path: Path, platform: Platform) -> None:
    path = written(tmp_path, "p.json", POLICY)
    own: dict[str, object] = {"yard": PARKING, "lane": "https://example.invalid/p"}
    run = Run(tmp_path, path, own, enabled=False).begun()
    for stream in ("gate", "yard", "lane"):
        assert not run.of(stream).policy.enabled
    assert run.of("yard").notes == ("collecting is disabled in the settings: the policy was not fetched",)
    assert run.policies.refresh_due() == float("inf")
    written(tmp_path, "p.json", OTHER)
    run.policies.reload()
    assert not run.of().policy.enabled
    assert platform.requests == ()
    written(tmp_path, "p.json", {"enabled": "x"})
    with pytest.raises(ConfigError):
        Run(tmp_path, path, enabled=False).begun()


def test_the_platform_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ROBOFLOW_API_KEY"):
        Run(tmp_path, PARKING)


# -- the thread


def test_a_thread_refreshes_the_policies_until_it_is_stopped(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform, clock=ManualClock(waiters=1)).begun()
    run.policies.start()
    assert platform.until(lambda: len(platform.asked("active_learning")) >= 5)
    assert run.clock.monotonic() - 1000.0 >= 4 * 810.0
    assert run.policies.idle_s() <= MAX_WAIT_S
    platform.add_project("parking", active_learning=OTHER)
    asked = len(platform.asked("active_learning"))
    assert platform.until(lambda: len(platform.asked("active_learning")) >= asked + 2)
    assert run.of().policy.tags == ("other",)
    assert run.policies.stop(30.0)
    assert run.failed == []
    asked = len(platform.requests)
    run.clock.advance(5000.0)
    assert len(platform.requests) == asked


def test_a_reload_wakes_the_thread(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()  # a clock that stands still
    run.policies.start()
    platform.add_project("parking", active_learning=OTHER)
    run.policies.reload()
    assert platform.until(lambda: len(platform.asked("active_learning")) == 2)
    assert run.policies.stop(30.0)
    assert run.of().policy.tags == ("other",)


def test_a_bug_ends_the_thread_loudly(tmp_path: Path, platform: Platform) -> None:
    run = Run(tmp_path, PARKING, platform=platform).begun()
    ended = threading.Event()

    class Broken(Observer):
        def on_policy_event(self, event: PolicyEvent) -> None:  # noqa: ARG002
            ended.set()
            raise RuntimeError("a bug")

    run.policies = Policies(
        options(PARKING),
        {},
        context=SourceContext(HttpClient(), RoboflowClient(HttpClient(), api_key=KEY, api_url=platform.url), run.clock),
        folder=tmp_path,
        rng=random.Random(1),
        enabled=True,
        observer=Broken(),
        on_failure=run.failed.append,
    )
    run.policies.load_initial(30.0)
    platform.add_project("parking", active_learning=OTHER)
    run.policies.reload()
    run.policies.start()
    assert ended.wait(30.0)
    assert run.policies.stop(30.0)
    assert [str(error) for error in run.failed] == ["a bug"]
