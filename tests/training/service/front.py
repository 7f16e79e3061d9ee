"""A server's training half as a process that can be killed: `python front.py HOME SEED`.

Prints what it has acknowledged to its clients, one JSON line each, and submits, cancels, pauses and
resumes at random for ever. Not a test.
"""

import asyncio
import json
import random
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import Yard

from modelyard.errors import RunConflict
from modelyard.records.runs import RunRecord
from modelyard.schemas.states import Phase

HOWS = ("finish", "finish", "cooperative", "raise", "deaf", "family", "walk", "walk", "walk")


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def follow(yard: Yard, record: RunRecord) -> None:
    async for now in yard.service.changes(record.id):
        say(event="seen", id=now.id, status=now.status.value, weights=now.weights)


async def submit(yard: Yard, chance: random.Random) -> RunRecord:
    how = chance.choice(HOWS)
    if how == "walk":
        return await yard.walk(steps=chance.randint(5, 40), seconds=0.02, save_every=3)
    arguments = {"seconds": chance.uniform(0.1, 1.5), "steps": chance.randint(1, 20)}
    return await yard.submit(how, arguments=arguments)


async def pause_or_resume(yard: Yard, record: RunRecord) -> None:
    with suppress(RunConflict):  # it cannot go on, or has just ended
        if record.phase is Phase.PAUSED:
            say(event="resuming", id=record.id)
            await yard.service.go_on("behaving", record.id)
        else:
            await yard.service.pause("behaving", record.id)
            say(event="pausing", id=record.id)


async def work(home: Path, seed: int) -> None:
    chance = random.Random(seed)
    yard = await Yard(home).start(max_trainings=2, threads=1)
    say(event="started")
    tasks = []
    for record in (await yard.service.list("behaving", status="running"))[0]:
        tasks.append(asyncio.create_task(follow(yard, record)))
    while True:
        waiting = [r for r in (await yard.service.list("behaving", status="running"))[0]]
        if len(waiting) < 6:
            record = await submit(yard, chance)
            say(event="acknowledged", id=record.id)
            tasks.append(asyncio.create_task(follow(yard, record)))
        if waiting and chance.random() < 0.3:
            await pause_or_resume(yard, chance.choice(waiting))
        if waiting and chance.random() < 0.1:
            record = await yard.service.cancel("behaving", chance.choice(waiting).id)
            say(event="seen", id=record.id, status=record.status.value, weights=record.weights)
        await asyncio.sleep(chance.uniform(0.0, 0.1))


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2])))
