"""MLServer's model; `mlserver_server.py` writes the settings that name it.

A row comes as FP32, a picture as BYTES in base64 (its V2 over HTTP is JSON only).
"""

import base64
import os
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from network import CLASSES, FEATURES, Network, decode


class Served(MLModel):
    async def load(self) -> bool:
        self.network = Network(os.environ["BENCH_KIND"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data.root
        if self.network.kind == "perceptron":
            inputs = list(np.array(data, np.float32).reshape(-1, FEATURES))
        else:
            inputs = [decode(base64.b64decode(one)) for one in data]
        answers = self.network.predict(inputs)
        output = ResponseOutput(
            name="y", shape=[len(inputs), CLASSES], datatype="FP32", data=answers.ravel().tolist()
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
