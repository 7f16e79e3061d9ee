"""Triton's own client, in an environment of its own: it wants an older protobuf than ours."""

import json
import subprocess
import sys

import pytest
from yard_grpc import grpc_target

# What a user of it would write.
CALLS = """
import json, sys
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

def tensor(name, array, word):
    one = triton.InferInput(name, list(array.shape), word)
    one.set_data_from_numpy(array)
    return one

client = triton.InferenceServerClient(sys.argv[1])
told = {"ready": client.is_server_ready() and client.is_model_ready("sums")}
told["inputs"] = [one.name for one in client.get_model_metadata("labels").inputs]
rows = tensor("x", np.arange(6, dtype="float32").reshape(2, 3), "FP32")
wanted = [triton.InferRequestedOutput("y")]
answer = client.infer("sums", [rows], request_id="7", outputs=wanted, client_timeout=10)
told["sums"], told["id"] = answer.as_numpy("y").tolist(), answer.get_response().id
answer = client.infer("labels", [
    tensor("x", np.arange(4).reshape(2, 2), "INT64"),
    tensor("mask", np.array([True, False]), "BOOL"),
    tensor("word", np.array(["k\\u00e4se"], dtype=object), "BYTES"),
])
told["kept"], told["half"] = answer.as_numpy("kept").tolist(), answer.as_numpy("half").tolist()
told["word"] = answer.get_response().parameters["word"].string_param
try:
    client.infer("nobody", [rows])
except InferenceServerException as error:
    told["nobody"] = error.status()
print(json.dumps(told))
"""


@pytest.mark.slow
def test_tritons_client_gets_its_answers(start_server, make_environment):
    python = make_environment("triton", sys.executable, "tritonclient[grpc]")
    server = start_server(
        *("--model-name", "sums,labels", "--no-warm-start", "--grpc-port", "0"),
    )
    for model in ("sums", "labels"):
        server.wait_ready(model)
    command = [python, "-c", CALLS, grpc_target(server)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ready": True,
        "inputs": ["x", "mask"],
        "sums": [3.0, 12.0],
        "id": "7",
        "kept": [[0, 1]],
        "half": [[0.0, 0.5], [1.0, 1.5]],
        "word": "käse",
        "nobody": "StatusCode.NOT_FOUND",
    }
