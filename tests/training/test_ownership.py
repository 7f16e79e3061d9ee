"""Who may act on a run, and what outlives what."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from modelyard.training.executor import LocalExecutor
from modelyard.training.forkclient import _LAUNCH_TIMEOUT_S
from modelyard.training.identity import Identity, read_stat
from modelyard.training.marker import PLACEHOLDER, marked
from modelyard.training.paths import RunPaths, read_json

FRONT = """
import asyncio, os, sys
from pathlib import Path
from modelyard.training.executor import LocalExecutor
from modelyard.training.paths import RunPaths

async def main():
    executor = LocalExecutor()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": sys.argv[2]}
    await executor.launch(RunPaths(Path(sys.argv[1])), 1, environment)
    print(executor._fork_server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_run_with_the_same_id_in_a_copy_of_its_home_is_another_one(new_run, tmp_path):
    """What the copy's server ends, when a supervisor of its own has died, is none of the first."""
    run = new_run("family", seconds=60)
    await run.launch()
    await run.in_phase("training")
    await run.until(lambda: len(run.living()) > 2)
    copy = RunPaths(tmp_path / "copy" / "runs" / run.paths.id)
    shutil.copytree(run.paths.root, copy.root)
    for name in ("supervisor.json", "process.json"):
        (copy.root / name).unlink()
    before = set(run.living())
    assert await run.executor.sweep(copy) == 0
    assert set(run.living()) == before
    await run.cancel()
    await run.gone(within_s=10)


async def test_supervisor_of_a_wrong_epoch_refuses(new_run):
    run = new_run("finish")
    run.paths.epoch.write_text("2")
    await run.executor.launch(run.paths, 1, {})
    await run.until(lambda: "the epoch in force is 2" in run.last_words())
    assert not run.paths.supervisor.exists() and not run.paths.exit.exists()


async def test_epoch_launched_twice_runs_once(new_run):
    run = new_run("finish")
    await run.launch()
    await run.ended()
    before = run.identity("process")
    await run.launch()
    await run.until(lambda: "claimed before" in run.last_words())
    assert run.identity("process") == before


async def test_new_epoch_ends_the_run_of_the_old_one_without_a_word(new_run):
    run = new_run("deaf")
    await run.launch()
    await run.in_phase("training")
    run.paths.epoch.write_text("2")
    await run.gone(within_s=5)
    assert not run.paths.exit.exists()


async def test_ended_run_is_run_again_in_a_new_epoch(new_run):
    run = new_run("raise")
    await run.launch()
    assert (await run.ended())["epoch"] == 1
    await run.launch(epoch=2)
    assert (await run.ended())["epoch"] == 2


async def test_claim_ends_with_the_supervisor_though_children_were_forked(new_run):
    run = new_run("leave_children")
    await run.launch()
    await run.until(run.paths.process.exists)
    os.kill(run.identity("supervisor").pid, signal.SIGKILL)
    with run.paths.claim.open() as claim:
        await run.until(lambda: _locked(claim), within_s=3)
    await run.executor.sweep(run.paths)


def _locked(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


async def test_run_outlives_the_killed_server_and_finishes(new_run):
    run = new_run("cooperative", seconds=1.5)
    plugins = str(Path(__file__).parent / "plugins")
    front = subprocess.Popen(
        [sys.executable, "-c", FRONT, str(run.paths.root), plugins], stdout=subprocess.PIPE
    )
    assert front.stdout is not None
    fork_server = Identity.of(int(await asyncio.to_thread(front.stdout.readline)))
    await run.in_phase("training")
    front.kill()
    front.wait()
    await run.until(lambda: not fork_server.alive(), within_s=3)
    assert run.identity("supervisor").alive()
    successor = LocalExecutor()
    assert successor.alive(run.paths)
    assert (await run.ended())["status"] == "done"
    await run.gone(within_s=2)


async def test_new_server_cancels_a_run_that_another_one_launched(new_run):
    run = new_run("cooperative")
    await run.launch()
    await run.in_phase("training")
    await run.executor.close()
    run.executor = LocalExecutor()
    await run.cancel()
    assert (await run.ended(within_s=5))["status"] == "cancelled"


async def test_launch_after_the_fork_server_was_killed_works(new_run):
    first, second = new_run("finish"), new_run("finish")
    await first.launch()
    await first.ended()
    pid = first.executor._fork_server.pid
    os.kill(pid, signal.SIGKILL)
    await second.launch()
    assert (await second.ended())["status"] == "done"
    assert second.executor._fork_server.pid not in (None, pid)


async def test_launch_does_not_wait_in_vain_for_a_fork_server_that_was_stopped(new_run):
    first, second = new_run("finish"), new_run("finish")
    await first.launch()
    await first.ended()
    pid = first.executor._fork_server.pid
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(_LAUNCH_TIMEOUT_S):
        await second.launch()
    assert second.executor._fork_server.pid not in (None, pid)
    assert (await second.ended())["status"] == "done"


async def test_launch_while_the_fork_server_hangs_is_not_needed_to_close(new_run):
    run = new_run("cooperative", seconds=1.0)
    await run.launch()
    os.kill(run.executor._fork_server.pid, signal.SIGSTOP)
    await run.executor.close()
    assert run.executor._fork_server.pid is None
    assert (await run.ended())["status"] == "done"


async def test_model_with_its_own_interpreter_starts_cold(new_run):
    run = new_run("where")
    plugins = str(Path(__file__).parent / "plugins")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": plugins}
    await run.executor.launch(run.paths, 1, environment, python=sys.executable)
    assert (await run.ended())["status"] == "done"
    told = read_json(run.paths.result)["output"]["environment"]
    assert told["MODELYARD_RUN_ID"] == run.paths.id


async def test_supervisor_works_by_hand(new_run):
    run = new_run("finish")
    plugins = str(Path(__file__).parent / "plugins")
    command = [sys.executable, "-m", "modelyard.training.supervisor", str(run.paths.root)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PYTHONPATH": plugins}
    )
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert (await run.ended())["status"] == "done"


async def test_run_process_works_by_hand(new_run):
    run = new_run("finish")
    plugins = str(Path(__file__).parent / "plugins")
    command = [sys.executable, "-m", "modelyard.training.process", str(run.paths.root)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PYTHONPATH": plugins}
    )
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert read_json(run.paths.result)["output"] == {"final": 0.9}


async def test_processes_that_are_only_forked_carry_the_runs_id(new_run):
    run = new_run("family")
    await run.launch()
    await run.until((run.paths.plugin / "ready").exists)
    living = {read_stat(pid).ppid for pid in run.living()}
    assert run.identity("supervisor").pid in run.living()
    assert run.identity("process").pid in run.living()
    assert run.identity("process").pid in living, "no forked child was found"
    fork_server = run.executor._fork_server.pid
    assert fork_server in [stat.pid for stat in marked(PLACEHOLDER)]
    assert fork_server not in run.living()


async def test_run_gets_its_own_environment_and_nothing_of_the_server(new_run):
    os.environ["SERVERS_SECRET"] = "do not tell"
    try:
        run = new_run("where")
        await run.launch()
        await run.ended()
    finally:
        del os.environ["SERVERS_SECRET"]
    told = read_json(run.paths.result)["output"]
    assert told["environment"]["TOLD"] == "yes"
    assert "SERVERS_SECRET" not in told["environment"]
    assert told["environment"]["OMP_NUM_THREADS"] == "1"
    assert (told["threads"], told["seed"], told["cwd"]) == (1, 7, str(Path.cwd()))


async def test_run_inherits_no_socket_and_no_lock(new_run):
    run = new_run("where")
    await run.launch()
    await run.ended()
    for target in read_json(run.paths.result)["output"]["descriptors"]:
        assert "socket:[" not in target and not target.endswith("/claim"), target


async def test_run_of_a_server_with_many_connections_inherits_no_socket_either(new_run):
    """The fork server's own socket has the number that was free in the server."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(Path("/dev/null").open())
        run = new_run("where")
        await run.launch()
        await run.ended()
    descriptors = read_json(run.paths.result)["output"]["descriptors"]
    assert [target for target in descriptors if "socket:[" in target] == []


async def test_run_is_nicer_than_the_server(new_run):
    run = new_run("cooperative", seconds=20.0)
    await run.launch()
    await run.in_phase("training")
    process = run.identity("process")
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.nice(0) + 5
    assert read_stat(process.pid).session == run.identity("supervisor").pid
    autogroup = Path(f"/proc/{process.pid}/autogroup")
    if autogroup.exists():
        assert autogroup.read_text().split()[-1] == "5"


BURN = """
import os, time
os.sched_setaffinity(0, {0})
began, end = time.process_time(), time.monotonic() + 2
while time.monotonic() < end:
    pass
print(time.process_time() - began)
"""


async def test_run_leaves_the_larger_share_of_a_contended_cpu_to_others(new_run):
    run = new_run("burn", seconds=2.0)
    await run.launch()
    await run.until((run.paths.plugin / "ready").exists)
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BURN), stdout=subprocess.PIPE, start_new_session=True
    )
    (run.paths.plugin / "go").touch()
    others_share, _ = await other.communicate()
    await run.ended()
    mine = read_json(run.paths.result)["output"]["cpu_s"]
    # Niceness 5 weighs 335 against 1024 (sched_prio_to_weight in the kernel): a share of 0.25.
    assert mine / (mine + float(others_share)) < 0.4


async def test_secret_arguments_are_gone_from_the_folder_of_an_ended_run(new_run):
    run = new_run("finish", steps=5)
    run.paths.secrets.write_text('{"token": "hidden"}')
    await run.launch()
    await run.ended()
    assert not run.paths.secrets.exists() and not run.paths.body.exists()
    assert read_json(run.paths.run)["request"] == {}
