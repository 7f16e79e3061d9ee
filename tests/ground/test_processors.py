"""How many CPUs may be used: those of the process, and no more than its control group's quota."""

import os

import pytest

from modelyard.processors import usable_cpus
from modelyard.serving.options import ModelOptions, ServingOptions
from modelyard.training.options import TrainingOptions

MINE = len(os.sched_getaffinity(0))
MANY = range(64)


@pytest.fixture
def machine(tmp_path):
    """`machine(groups, files)`: the root of one whose process is in these control groups."""

    def make(groups, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
        for name, text in files.items():
            file = tmp_path / "sys/fs/cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "max 100000\n", "a/b/cpu.max": "400000 100000\n"}, 4),
        ("0::/../elsewhere\n", {"cpu.max": "500000 100000\n"}, 5),
        (
            "4:memory:/x\n3:cpu,cpuacct:/docker/1\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "0"}, 64),
        ("", {}, 64),
        ("nonsense", {"cpu.max": "nonsense"}, 64),
    ],
)
def test_a_quota_of_the_control_group_bounds_the_cpus(machine, groups, files, count):
    assert usable_cpus(MANY, machine(groups, files)) == count


def test_without_a_quota_they_are_those_of_the_process(tmp_path):
    assert usable_cpus(root=tmp_path) == MINE
    assert usable_cpus([0], tmp_path) == 1
    assert 1 <= usable_cpus() <= MINE


def test_threads_of_workers_and_trainings_are_divided_of_them(monkeypatch):
    for module in ("serving.options", "training.options"):
        monkeypatch.setattr(f"modelyard.{module}.usable_cpus", lambda cpus=None: 6)
    assert ServingOptions(workers=2).of("m").threads == 3
    assert ServingOptions(workers=2, threads=9).of("m").threads == 9
    own = {"m": ModelOptions(cpus=tuple(MANY))}
    assert ServingOptions(threads=9, per_model=own).of("m").threads == 6
    options = TrainingOptions(environment=lambda *_: {}, max_trainings=3)
    assert options.threads_each == 2
