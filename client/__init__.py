"""The Python client: the HTTP API and nothing else of this package."""

from .aio import AsyncClient
from .datasets import Dataset, DatasetReport, Problem, Transfer, Upload
from .errors import (
    ArgumentsRefused,
    Busy,
    ClientError,
    Conflict,
    NotFound,
    NotPermitted,
    NotSupported,
    RequestRefused,
    ServerFailed,
    ServerUnreachable,
    TimedOut,
    UnexpectedAnswer,
)
from .models import Argument, Description, Model
from .runs import Attempt, Checkpoint, Checkpoints, Event, Metrics, Point, Progress, Run
from .sign_in import Challenge
from .sync import Client
from .weights import (
    Alias,
    Export,
    Exports,
    Lineage,
    Prediction,
    ShareLink,
    Weights,
    WeightsFile,
    WeightsPage,
)

__all__ = [
    "Alias",
    "Argument",
    "ArgumentsRefused",
    "AsyncClient",
    "Attempt",
    "Busy",
    "Challenge",
    "Checkpoint",
    "Checkpoints",
    "Client",
    "ClientError",
    "Conflict",
    "Dataset",
    "DatasetReport",
    "Description",
    "Event",
    "Export",
    "Exports",
    "Lineage",
    "Metrics",
    "Model",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "Point",
    "Prediction",
    "Problem",
    "Progress",
    "RequestRefused",
    "Run",
    "ServerFailed",
    "ServerUnreachable",
    "ShareLink",
    "TimedOut",
    "Transfer",
    "UnexpectedAnswer",
    "Upload",
    "Weights",
    "WeightsFile",
    "WeightsPage",
]
