"""What the server, a run's supervisor and its run process tell each other: files of the run folder.

Each class is one JSON file (see `paths.RunPaths` for who writes which). Readers ignore members that
they do not know, so that a newer release may add some and still adopt an older one's runs. Python
3.8 syntax and library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from .paths import FORMAT

LONGEST_MESSAGE, LONGEST_TEXT = 10_000, 1_000
"""Characters of a run's message, and of the text of its progress: what a record may hold. A model
writes both, and every listing of runs has all of them."""

PAUSED = "paused"
"""In the place of a reason: the run has not ended, it was asked to pause."""

_Kind = TypeVar("_Kind", bound="_Message")


def cut(text: str, most: int = LONGEST_MESSAGE) -> str:
    """The text, or its begin."""
    return text if len(text) <= most else text[: max(0, most - 3)] + "..."


@dataclass
class _Message:
    def to_data(self) -> dict[str, Any]:
        """Plain JSON values with the format's version; `from_data` is the inverse."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_data(cls: type[_Kind], data: Mapping[str, Any]) -> _Kind:
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass
class RunOrder(_Message):
    """run.json: what is to be trained.

    `source` is a PluginSource's data, `request` a RequestData's without its body, `pinned` the
    recorded JSON arguments; `weights` maps names ("latest") to version ids, `weights_root` is the
    folder of all versions; `cpus` are those that the run may use (None: all of the server's),
    `nice` is added to its niceness. `dataset` is the dataset version to train on,
    `{"id", "name", "digest", "folder"}`, where `folder` holds its files; `repeats` is the id of a
    weights version whose training is made again, `resumed_from` that of an ended run which this one
    goes on with. `max_seconds` is what the run's processes may take, all attempts together (None:
    as long as they need); asked to stop they have `grace_s` to save a checkpoint. `secrets` are the
    names of the secret arguments that were given. `memory_limit` is bytes, of each
    process and of all together; 0 is no limit.
    """

    id: str
    model: str
    source: dict[str, Any]
    request: dict[str, Any] = field(default_factory=dict)
    pinned: dict[str, Any] | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    cpus: list[int] | None = None
    nice: int = 10
    data_root: str | None = None
    weights_folder: str | None = None
    weights_root: str | None = None
    weights: dict[str, str] = field(default_factory=dict)
    created_at: str = ""
    dataset: dict[str, Any] | None = None
    repeats: str | None = None
    resumed_from: str | None = None
    max_seconds: float | None = None
    grace_s: float = 30.0
    secrets: list[str] = field(default_factory=list)
    memory_limit: int = 0


@dataclass
class Control(_Message):
    """control.json: what the server asks of the supervisor of `epoch`.

    `action`: `cancel` ends the run as cancelled; `pause` ends its processes, and the run waits to
    be resumed; `stop` ends it as an error with `reason`, its last checkpoint kept. `grace_s` is how
    long train() may take to notice `should_stop`; None is 1.5 s for cancel, the order's otherwise.
    """

    epoch: int
    action: str
    grace_s: float | None = None
    reason: str | None = None


@dataclass
class RunProgress(_Message):
    """status.json: how far the run process is. `best` is `{"step", "metric", "metrics"}`."""

    phase: str = "starting"
    done: float = 0.0
    total: float = 0.0
    text: str = ""
    step: int | None = None
    updated_at: str = ""
    best: dict[str, Any] | None = None


@dataclass
class Watched(_Message):
    """watched.json: folders with event files of the run, by the name that TensorBoard shows.

    `since` is when the run's first process began (seconds since 1970): what is older in those
    folders is of others.
    """

    since: float = 0.0
    folders: dict[str, str] = field(default_factory=dict)


@dataclass
class Trained(_Message):
    """trained.json: train() has returned; all that is left is the finish step.

    `output` is what it returned, as JSON; `note` says what was wrong with that, if anything. More
    than 1 MiB is in a file of the run's plugin folder, and `output` is
    `{"note": ..., "file": "output.json", "size": bytes}`. `at` is when (`elapsed.this_moment`).
    """

    output: Any = None
    duration_s: float = 0.0
    note: str | None = None
    at: dict[str, Any] | None = None


@dataclass
class Failure:
    """Why a run ended badly. `reason` is a value of `schemas.states.Reason`."""

    reason: str
    message: str
    original_type: str = ""
    traceback: str = ""
    file: str | None = None
    line: int | None = None


@dataclass
class RunResult(_Message):
    """result.json: the run process is done; `error` is a Failure's data, None if all went well.

    `version` is the id in version/manifest.json, None if the run made no checkpoint.
    """

    output: Any = None
    duration_s: float = 0.0
    metrics: dict[str, Any] = field(default_factory=dict)
    version: str | None = None
    error: dict[str, Any] | None = None
    note: str | None = None


@dataclass
class ExitRecord(_Message):
    """exit.json: how the run's processes ended, said by its supervisor.

    `status` and `reason` are the run's own words, or `running` and PAUSED. `signal` is a name such
    as SIGKILL.
    """

    epoch: int
    status: str
    reason: str
    message: str = ""
    exit_code: int | None = None
    signal: str | None = None
    ended_at: str = ""
    duration_s: float = 0.0


@dataclass
class Manifest(_Message):
    """version/manifest.json: a weights version. `files` are `{"path", "size", "sha256"}`.

    `origin` is `training`, `promotion` or `import`; `parent` is the id of the version that it was
    fine-tuned from; `dataset` the stored dataset, `{"id", "name", "digest"}`, or a folder below the
    data root (`data.recorded_data`); of `lineage` see `lineage.py`.
    """

    id: str
    model: str
    run: str
    created_at: str
    step: int
    checkpoint: str
    metrics: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    kind: str = "weights"
    origin: str = "training"
    parent: str | None = None
    dataset: dict[str, Any] | None = None
    lineage: dict[str, Any] = field(default_factory=dict)
