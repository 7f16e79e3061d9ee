"""LitServe: `litserve_server.py KIND PORT BATCH`. One worker; batches of BATCH, no wait for more.

Pictures come as a form's file, which is how its documentation takes them.
"""

import sys
from pathlib import Path

import litserve
from fastapi import Request, UploadFile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from network import Network, decode

KIND, PORT, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
WAIT_S = 0.002


class Api(litserve.LitAPI):
    def setup(self, device):
        self.network = Network(KIND)

    def predict(self, inputs):
        return self.network.predict(inputs if BATCH > 1 else [inputs])

    def batch(self, inputs):
        return inputs

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"y": np.asarray(output).reshape(-1).tolist()}


class Rows(Api):
    def decode_request(self, request: Request):
        return np.array(request["x"], np.float32)


class Pictures(Api):
    def decode_request(self, request: UploadFile):
        return decode(request.file.read())


if __name__ == "__main__":
    api = (Rows if KIND == "perceptron" else Pictures)(
        max_batch_size=BATCH, batch_timeout=WAIT_S if BATCH > 1 else 0.0
    )
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1", port=PORT, num_api_servers=1, log_level="warning",
        generate_client_file=False, access_log=False,
    )  # fmt: skip
