"""The soak itself: its parts, and a run of a minute that goes on with its folder and finds what was taken away."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rigs.soak.accounts import Accounts
from rigs.soak.books import PlatformBooks, SpoolBooks
from rigs.soak.faults import FAULTS_A_ROUND, KINDS, plan_round
from rigs.soak.journal import Journal
from rigs.soak.published import publish
from rigs.soak.report import lives, summarize, write_report
from rigs.soak.trend import trend

TESTS = Path(__file__).parents[1]


def measured(an_hour: float, hours: float, seed: int, base: float = 120.0) -> list[tuple[float, float]]:
    rng = np.random.default_rng(seed)
    at_h = np.arange(0.0, hours, 1 / 60)
    noise = rng.normal(0.0, 0.5, len(at_h)) + (rng.random(len(at_h)) < 0.05) * 30.0  # peaks of a moment, too
    return list(zip(at_h.tolist(), (base + an_hour * at_h + noise).tolist(), strict=True))


def test_a_trend_is_found_among_noise_and_over_lives_with_another_level() -> None:
    found = trend([measured(2.0, 2.0, 1), measured(2.0, 3.0, 2, base=60.0)])
    assert found is not None
    assert found.low < 2.0 < found.high
    assert found.high - found.low < 0.5
    assert found.points == 300


def test_what_does_not_grow_has_no_trend_and_a_few_points_say_nothing() -> None:
    found = trend([measured(0.0, 4.0, 3)])
    assert found is not None
    assert found.low < 0.0 < found.high
    assert trend([[(0.0, 1.0), (1.0, 2.0)]]) is None


def test_a_round_has_four_kinds_of_different_parts_and_is_quiet_at_its_end() -> None:
    seen: Counter[str] = Counter()
    for number in range(300):
        planned = plan_round(random.Random(number), 600.0, ends_daemon=number % 3 == 0)
        assert len({one.kind.part for one in planned}) == FAULTS_A_ROUND
        assert sum(one.kind.ends_daemon for one in planned) == (number % 3 == 0)
        assert max(one.begins_s + one.lasts_s for one in planned) <= 480.0
        seen.update(one.kind.name for one in planned)
    assert seen.keys() == {kind.name for kind in KINDS}


def test_a_journal_goes_on_after_a_torn_line_and_its_hours_add_up(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.write("run")
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"what": "audit", "at_s": 1.0, "hours": 2.5}\n{"what": "au')
    again = Journal(tmp_path)
    assert again.hours_before == 2.5
    assert again.write("run")["hours"] >= 2.5
    assert [record["what"] for record in Journal(tmp_path).records] == ["run", "audit", "run"]


def test_memory_is_measured_when_a_daemon_is_warm_and_each_life_for_itself(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    for begun_h in (0.0, 3.0):
        records.append({"what": "daemon", "hours": begun_h, "at_s": 3600 * begun_h})
        for minute in range(0, 150, 5):
            at_h = begun_h + minute / 60
            records.append(
                {"what": "audit", "hours": at_h, "at_s": 3600 * at_h, "rss_mib": 100.0 + at_h, "fds": 70, "threads": 30}
                | {"all_mib": 200.0, "cpu_s": 6.0 * minute, "spool_mib": 1.0, "disk_mib": 9.0, "promised": 1}
                | {"accepted": minute, "left": {}, "in_spool": 1, "at_platform": minute}
            )
    assert [len(life) for life in lives(records, "rss_mib")] == [24, 24]
    found = summarize(records)
    assert found["rss_mib_an_hour"]["an_hour"] == pytest.approx(1.0)
    assert found["all_mib_an_hour"]["an_hour"] == 0.0
    assert found["cores"] == pytest.approx(0.1)
    assert write_report(tmp_path, records) == found
    assert (tmp_path / "soak.svg").read_text().count("<polyline") == 7


def test_the_figures_go_into_a_page_again_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- soak -->\nold\n<!-- end of soak -->\nafter\n")
    for number in (1, 2):
        publish(page, "soak", {"n": number}, f"| {number} |\n", drawing=f"<svg>{number}</svg>")
    assert page.read_text() == "before\n<!-- soak -->\n| 2 |\n<!-- end of soak -->\nafter\n"
    assert json.loads((tmp_path / "page" / "soak.json").read_text()) == {"n": 2}
    assert (tmp_path / "page" / "soak.svg").read_text() == "<svg>2</svg>"


def spool_books(given: int, there: dict[str, str], **left: int) -> SpoolBooks:
    return SpoolBooks(given, there, left, frozenset(), {}, 0, 0)


def platform_books(*ids: str, annotated: tuple[str, ...] | None = None) -> PlatformBooks:
    return PlatformBooks(Counter(ids), Counter(ids if annotated is None else annotated), {})


def test_accounts_fit_while_each_datapoint_is_in_one_place() -> None:
    accounts = Accounts()
    assert accounts.compare(spool_books(2, {"a": "ready", "b": "sending"}), platform_books()) == []
    # Its image is there already, and the spool still has it; another was accepted meanwhile, and is still unknown.
    assert accounts.compare(spool_books(2, {"b": "registered"}, delivered=1), platform_books("a", "b", "c")) == []
    assert accounts.compare(spool_books(4, {}, delivered=3, evicted=1), platform_books("a", "b", "c"), ["d", "c"]) == []


@pytest.mark.parametrize(
    ("spool", "platform", "what"),
    [
        (
            spool_books(3, {"b": "ready"}, delivered=1),
            platform_books("a"),
            "3 were accepted, 1 are in the spool, and 1",
        ),
        (spool_books(2, {"b": "ready"}, delivered=1), platform_books(), "neither in the spool nor at the platform"),
        (spool_books(2, {"b": "ready"}, delivered=1), platform_books("a", "a"), "a is at the platform 2 times"),
        (
            spool_books(2, {"b": "ready"}, delivered=1),
            platform_books("a", annotated=()),
            "1 were delivered and have no",
        ),
        (spool_books(2, {"b": "ready"}, limit=1), platform_books("a", "b"), "had left as delivered"),
        (spool_books(2, {"b": "ready"}, buried=1), platform_books("a"), "were lost in the file"),
    ],
)
def test_accounts_name_what_does_not_fit(spool: SpoolBooks, platform: PlatformBooks, what: str) -> None:
    accounts = Accounts()
    assert accounts.compare(spool_books(2, {"b": "ready"}, delivered=1), platform_books("a"), ["a"]) == []
    found = accounts.compare(spool, platform)
    assert any(what in text for text in found), found


def test_accounts_name_what_nobody_accepted() -> None:
    accounts = Accounts()
    assert accounts.compare(spool_books(0, {}), platform_books("x")) == []  # it may be newer than the spool was
    assert accounts.compare(spool_books(0, {}), platform_books("x")) == [
        "the platform has what was never accepted: ['x']"
    ]


def soak(folder: Path, hours: float, *words: str) -> tuple[int, dict[str, Any]]:
    """Runs it, and returns its exit status and the summary."""
    command = [sys.executable, "-m", "rigs.soak", "--folder", str(folder), "--hours", str(hours), *words]
    ended = subprocess.run(command, cwd=TESTS, timeout=400, check=False, capture_output=True, text=True)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return ended.returncode, summary


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_a_short_soak_fits_goes_on_and_finds_what_is_taken_away(tmp_path: Path) -> None:
    hurried = ("--round-s", "40", "--audit-s", "5", "--seed", "4")
    code, first = soak(tmp_path, 0.025, *hurried)
    journal = (tmp_path / "journal.jsonl").read_text()
    assert (code, first["violations"]) == (0, 0), journal
    assert first["audits"] >= 10
    assert first["faults_in_all"] >= 4
    assert first["left"]["delivered"] >= 5
    assert first["at_platform"] >= first["left"]["delivered"]

    code, second = soak(tmp_path, 0.02, *hurried)
    assert (code, second["violations"]) == (0, 0), (tmp_path / "journal.jsonl").read_text()
    assert second["hours"] > first["hours"] + 0.02
    assert second["runs"] == 2
    assert second["accepted"] > first["accepted"]  # delivered later: a server that was started again grants nothing yet

    # An image is gone from the platform, and, as it looks, a datapoint from the spool.
    min((tmp_path / "platform").glob("image*[0-9].json")).unlink()
    with closing(sqlite3.connect(tmp_path / "spool.db")) as spool:
        spool.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'datapoint'")
        spool.commit()
    code, third = soak(tmp_path, 0.004, *hurried)
    assert code == 1
    texts = [r["text"] for r in map(json.loads, (tmp_path / "journal.jsonl").read_text().splitlines()) if "text" in r]
    assert any("neither in the spool nor at the platform" in text for text in texts), third
    assert any("spool_moved_aside" in text for text in texts), texts


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_sigterm_ends_a_soak_with_its_summary(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rigs.soak", "--folder", str(tmp_path), "--hours", "1", "--audit-s", "2"]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while '"audit"' not in (path.read_text() if (path := tmp_path / "journal.jsonl").exists() else ""):
            assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        said = running.stdout.read()
        assert running.wait(60) == 0
    assert "violations: 0" in said
    assert json.loads((tmp_path / "summary.json").read_text())["runs"] == 1
