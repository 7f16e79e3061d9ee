"""The floor: bare aiohttp that reads the body and answers a constant.

`constant_server.py KIND PORT BATCH`
"""

import json
import sys

import uvloop
from aiohttp import web

ANSWER = json.dumps({"y": [0.0] * 10}).encode()


async def answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


uvloop.install()
app = web.Application()
app.router.add_post("/predict", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
