"""The bare decode-and-forward loop: `floor.py BATCH SECONDS`; prints pictures per second and CPU.

No server can answer faster with one torch thread: one process that has its pictures already.
"""

import json
import sys
import time

from network import Network, decode, pictures

BATCH, SECONDS = int(sys.argv[1]), float(sys.argv[2])
network, files = Network("cnn"), pictures()
count = 0
network.predict([decode(png) for png in files[:BATCH]])
began, cpu = time.perf_counter(), time.process_time()
while (took := time.perf_counter() - began) < SECONDS:
    network.predict([decode(files[(count + place) % len(files)]) for place in range(BATCH)])
    count += BATCH
print(
    json.dumps(
        {"per_s": count / took, "cpu_ms": (time.process_time() - cpu) / max(1, count) * 1000}
    )
)
