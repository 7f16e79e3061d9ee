"""The Python client: the HTTP API and nothing else of this package."""

from .aio import AsyncClient
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
from .runs import Checkpoint, Checkpoints, Event, Metrics, Point, Progress, Run
from .sync import Client
from .weights import Prediction, Weights, WeightsFile

__all__ = [
    "Argument",
    "ArgumentsRefused",
    "AsyncClient",
    "Busy",
    "Checkpoint",
    "Checkpoints",
    "Client",
    "ClientError",
    "Conflict",
    "Description",
    "Event",
    "Metrics",
    "Model",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "Point",
    "Prediction",
    "Progress",
    "RequestRefused",
    "Run",
    "ServerFailed",
    "ServerUnreachable",
    "TimedOut",
    "UnexpectedAnswer",
    "Weights",
    "WeightsFile",
]
