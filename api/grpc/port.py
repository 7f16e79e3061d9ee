"""The port of gRPC, on the loop of the front: what is served there, and how it opens and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from grpc import aio

from ...errors import CannotStart, ModelyardError
from ...settings import Settings
from ..body import TEXT_LIMIT
from ..metrics import Metrics
from ..services import SERVICES, App, Services
from . import checking
from .call import Context, GrpcCall, refuse, told
from .methods import METHODS

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
