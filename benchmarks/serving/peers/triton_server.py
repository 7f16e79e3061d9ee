"""Triton through pytriton: `triton_server.py KIND PORT BATCH`.

Rows come as JSON, pictures as BYTES of the binary extension.
"""

import socket
import sys
from pathlib import Path

import numpy as np
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from network import CLASSES, FEATURES, Network, decode

KIND, PORT, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def main() -> None:
    network = Network(KIND)

    def infer(requests):
        """All rows of all requests of a batch in one forward."""
        arrays = [request["x"] for request in requests]
        together = np.concatenate(arrays)
        if KIND == "perceptron":
            inputs = list(together)
        else:
            inputs = [decode(bytes(one)) for one in together.ravel()]
        answers, begun, parts = network.predict(inputs), 0, []
        for array in arrays:
            parts.append({"y": answers[begun : begun + len(array)]})
            begun += len(array)
        return parts

    taken = Tensor(name="x", dtype=np.float32, shape=(FEATURES,))
    if KIND == "cnn":
        taken = Tensor(name="x", dtype=np.bytes_, shape=(1,))
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, grpc_port=free_port(),
        metrics_port=free_port(), allow_grpc=False, log_verbose=0,
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=infer,
            inputs=[taken],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(CLASSES,))],
            config=ModelConfig(max_batch_size=BATCH, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()


if __name__ == "__main__":
    main()
