"""Plain FastAPI and uvicorn: `fastapi_server.py KIND PORT BATCH`. It has no batching.

The forward runs in the event loop: through its thread pool every call cost more than that saves.
"""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from network import FEATURES, Network, decode

KIND, PORT = sys.argv[1], int(sys.argv[2])
network = Network(KIND)
app = FastAPI()


class Row(BaseModel):
    x: list[float] = Field(min_length=FEATURES, max_length=FEATURES)


@app.post("/perceptron")
async def perceptron(row: Row) -> list[float]:
    return network.predict([np.array(row.x, np.float32)])[0].tolist()


@app.post("/cnn")
async def cnn(request: Request) -> list[float]:
    return network.predict([decode(await request.body())])[0].tolist()


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
