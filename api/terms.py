"""What one request says once for all the predictions that it asks for: version and deadline."""

from __future__ import annotations

import math
import re
from pathlib import Path

from aiohttp import web

from ..errors import InvalidArguments, NotAcceptable
from ..models_plugin.accept import choose
from ..schemas.model_operations import LONGEST_TIMEOUT_S, SHORTEST_TIMEOUT_S
from ..schemas.tensors import body_tensor
from ..schemas.transport import RequestData
from ..serving.coming import Coming
from ..serving.handle import ModelHandle
from ..serving.messages import Prediction, WeightsRef
from ..storage.weights import PRODUCTION
from .body import ModelRequestReader
from .services import (
    argument_names,
    header_arguments,
    server_parameter,
    services,
    telling_where,
)


class Terms:
    """The terms of one request to a model. Raises InvalidArguments for a wrong deadline.

    `limit_s` is the deadline of each prediction, in seconds.
    """

    def __init__(self, request: web.Request, handle: ModelHandle) -> None:
        self.handle = handle
        self.timeout_s = timeout_of(request.headers.get("X-Request-Timeout"))
        self.limit_s = self.timeout_s or handle.predict_timeout_s
        self._request = request
        self._here = services(request)
        self._taken = argument_names(handle, "predict")
        self._reference: WeightsRef | None = None
        self._sticky: str | None = None

    def reader(self, folder: Path, coming: Coming | None = None) -> ModelRequestReader:
        """What reads the request; its files go to `folder`, and `coming` is told of the rest."""
        described = self.handle.description
        arguments = described.predict_arguments if described else None
        return ModelRequestReader(
            self._request,
            folder,
            self._here.settings.client_max_size,
            headers=header_arguments(self.handle, "predict"),
            tensor=body_tensor(arguments) is not None,
            keep_small=True,
            coming=coming,
        )

    async def choose(self, name: str | None = None) -> None:
        """Settles which version answers: `name`, or what the request chooses, or the default.

        Raises InvalidArguments, Busy and StoreUnavailable.
        """
        choice = name or server_parameter(self._request, self._taken, "weights")
        self._sticky = self._request.headers.get("X-Modelyard-Sticky")
        if choice is None or (choice == PRODUCTION and self.handle.traffic.divided):
            return
        if self.handle.takes_weights:
            self._reference = await self._here.weights_ref(self.handle.name, choice, self.limit_s)
            return
        told = [
            name
            for name in sorted(self._taken)
            if re.search("weight|model|checkpoint|version|timestamp", name)
        ]
        raise InvalidArguments(
            {
                "weights": [
                    "This model chooses its weights by its own arguments: "
                    f"{', '.join(told or sorted(self._taken)) or 'it has none'}."
                ]
            }
        )

    def settle(self, data: RequestData) -> None:
        """Takes out of what was read what is the server's, and no argument of the model."""
        if "accept" not in self._taken and "accept" in self._request.query:
            data.accept = self._request.query["accept"]
        ours = {"weights", "accept"} - self._taken
        data.query = [pair for pair in data.query if pair[0] not in ours]

    async def ask(
        self, data: RequestData, folder: Path, timeout_s: float | None = None
    ) -> Prediction:
        """One prediction of `data`, which is settled. Raises as `Services.predict` does, and
        NotAcceptable."""
        handle, limit = self.handle, timeout_s or self.timeout_s
        with telling_where("weights"):
            prediction = await self._here.predict(
                handle, data, self._reference, folder, limit, self._sticky
            )
        check_accepted(handle, self._taken, data, prediction)
        return prediction

    def copy(self, data: RequestData, folder: Path, prediction: Prediction) -> bool:
        """After the answer: a version that is tried out may get a copy. True: then the call's
        folder is somebody else's to remove."""
        return self._reference is None and self.handle.copied(data, folder, prediction)


def check_accepted(
    handle: ModelHandle, taken: frozenset[str], data: RequestData, prediction: Prediction
) -> None:
    """Raises NotAcceptable if the client does not take what the model answered with.

    `taken` are the names of its arguments. With one `accept` the plugin has chosen already, and the
    argument wins. DEEPaaS never looked at the header without it, so clients may have sent anything.
    """
    if not handle.takes_weights or data.accept == "*/*" or "accept" in taken:
        return
    if choose(data.accept, [prediction.content_type]) is None:
        raise NotAcceptable(
            f"This model answered with {prediction.content_type}; "
            f"the request accepts only {data.accept[:200]}."
        )


def timeout_of(text: str | None) -> float | None:
    """The client's own deadline in seconds, by its header `X-Request-Timeout`.

    Raises InvalidArguments.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST_TIMEOUT_S <= seconds <= LONGEST_TIMEOUT_S:
        raise InvalidArguments(
            {
                "X-Request-Timeout": [
                    f"Give seconds, from {SHORTEST_TIMEOUT_S:g} to {LONGEST_TIMEOUT_S:g}."
                ]
            }
        )
    return seconds
