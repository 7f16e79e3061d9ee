"""How a worker ended: in words, and as one of few kinds."""

import signal

import pytest

from modelyard.serving.exits import exit_of, memory_kills


def machine(root, group="", **files):
    """A folder that looks like the root of a machine: what is in /proc and /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": group, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0, "exit", "exited with code 0"),
        (3, "exit", "exited with code 3"),
        (-signal.SIGSEGV, "sigsegv", "was killed by SIGSEGV"),
        (-signal.SIGKILL, "sigkill", "perhaps"),
        (-40, "signal_40", "was killed by signal 40"),
    ],
)
def test_an_end_is_told_in_words_and_counted_by_its_kind(code, kind, words):
    ended = exit_of(code)
    assert ended.kind == kind and words in ended.words


def test_a_kill_for_lack_of_memory_is_told_as_such_and_no_other_end_is():
    assert exit_of(-signal.SIGKILL, killed_for_memory=True).kind == "out_of_memory"
    assert exit_of(-signal.SIGSEGV, killed_for_memory=True).kind == "sigsegv"


def test_the_kernels_kills_are_read_from_the_own_group_under_either_version(tmp_path):
    events = {"sys/fs/cgroup/a/memory.events": "low 0\noom 5\noom_kill 2\n"}
    assert memory_kills(machine(tmp_path / "v2", "0::/a\n", **events)) == 2
    control = {"sys/fs/cgroup/memory/b/memory.oom_control": "under_oom 0\noom_kill 3\n"}
    assert memory_kills(machine(tmp_path / "v1", "4:memory:/b\n1:cpu:/\n0::/\n", **control)) == 3


def test_within_a_container_the_group_is_the_top_one_that_is_seen(tmp_path):
    events = {"sys/fs/cgroup/memory.events": "oom_kill 7\n"}
    assert memory_kills(machine(tmp_path, "0::/kubepods/pod1\n", **events)) == 7


def test_without_a_group_the_machine_is_asked_and_nothing_is_told_where_nothing_is(tmp_path):
    told = {"proc/vmstat": "nr_free_pages 1\noom_kill 1\n"}
    assert memory_kills(machine(tmp_path / "one", "0::/\n", **told)) == 1
    assert memory_kills(tmp_path / "none") is None
