"""kill -9 of the server at random moments: nothing that was said is taken back."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelyard.schemas.states import Phase, Reason, Status
from modelyard.training.marker import marked

from .test_resume import unbroken

FRONT = Path(__file__).parent / "front.py"
SAMPLE: list[Any] = [(2, 2026)]
MANY = [pytest.param(30, seed, marks=pytest.mark.slow) for seed in range(5)]


def _round(home: Path, seed: int, lives_s: float) -> list[dict[str, Any]]:
    """Runs a server for so long and kills it; what it had said."""
    front = subprocess.Popen([sys.executable, FRONT, home, str(seed)], stdout=subprocess.PIPE)
    assert front.stdout is not None
    lines = [front.stdout.readline()]
    time.sleep(lives_s)
    front.kill()
    lines += front.stdout.readlines()
    front.wait()
    said = []
    for line in lines:
        if line.endswith(b"\n"):  # the last one may be cut off by the kill
            said.append(json.loads(line))
    assert said and said[0] == {"event": "started"}, lines
    return said


async def _settle_pauses(yard: Any, said: list[Any], records: dict[str, Any]) -> list[str]:
    """Waits until each run that is to pause has; then has them go on, and names them."""
    last = {line["id"]: line["event"] for line in said if line["event"].endswith("ing")}
    for run_id, event in last.items():
        if event == "pausing":
            now = await yard.until(records[run_id], lambda r: r.ended or r.phase is Phase.PAUSED)
            if now.phase is Phase.PAUSED:
                await yard.gone(now)
    paused = []
    for record in records.values():
        if (await yard.get(record)).phase is Phase.PAUSED:
            await yard.service.go_on("behaving", record.id)
            paused.append(record.id)
    return paused


@pytest.mark.parametrize(("rounds", "seed"), SAMPLE + MANY)
async def test_server_killed_at_random_moments_keeps_its_word(
    new_yard: Any, home_root: Path, rounds: int, seed: int
) -> None:
    chance = random.Random(seed)
    said = []
    for number in range(rounds):
        said += _round(home_root, seed + number, chance.uniform(0.05, 2.0))
    yard = await new_yard(max_trainings=2, threads=1)
    records = {record.id: record for record in (await yard.service.list("behaving"))[0]}
    paused = await _settle_pauses(yard, said, records)
    for run_id, record in records.items():
        records[run_id] = await yard.finished(record, 60)
    for run_id in paused:
        walk = "save_every" in records[run_id].args
        assert not walk or records[run_id].status is Status.DONE, records[run_id]
    for record in records.values():
        if record.weights is not None and "save_every" in record.args:
            version = await yard.versions.get("behaving", record.weights)
            walked = (version.folder / "place.txt").read_text()
            assert walked == unbroken(record.args["steps"])

    acknowledged = {line["id"] for line in said if line["event"] == "acknowledged"}
    assert len(acknowledged) > rounds
    assert acknowledged <= set(records), "an acknowledged run was lost"
    assert len(records) <= len(acknowledged) + rounds, "a run that nobody asked for"
    for line in said:
        if line["event"] == "seen" and line["status"] != "running":
            now = records[line["id"]]
            assert (now.status.value, now.weights) == (line["status"], line["weights"])

    assert [stat for run_id in records for stat in marked(run_id)] == [], "orphans"
    assert {record.phase for record in records.values()} == {Phase.FINISHED}
    own_ends = {Reason.COMPLETED, Reason.CANCELLED, Reason.PLUGIN_FAILED}
    assert {record.reason for record in records.values()} <= own_ends, "a run was harmed"
    assert Status.DONE in {record.status for record in records.values()}
    listed = {version.id: version for version in await yard.versions.list("behaving")}
    published = [r.weights for r in records.values() if r.weights is not None]
    assert sorted(published) == sorted(listed)
    assert all([await yard.versions.check(version) for version in listed.values()])
    assert {path.name for path in yard.home.runs.iterdir()} == set(records)
    assert not list(yard.home.weights.glob(".new-*"))
