"""What somebody broken or hostile writes into a shared store stops nobody else's servers."""

import json
import time

from yard_bundles import key_of, make_bundle, office_at


async def test_entries_that_no_server_can_take_hide_nothing_else(start_server, tmp_path):
    store = tmp_path / "store"
    good = make_bundle(tmp_path / "made", {"count.json": b'{"count": 1}'}, "counter")
    bad = make_bundle(tmp_path / "made", {"w": b"2"}, "counter")
    told = json.loads((bad / "manifest.json").read_text())
    huge = {**told, "kind": "dataset", "name": "d", "digest": "0" * 64, "number": 2**80}
    (bad / "manifest.json").write_text(json.dumps(huge))
    async with office_at(tmp_path / "other", str(store)) as office:
        await office.publish("dataset", f"datasets/{bad.name}", bad)
        await office.publish("weights", key_of(good, "counter"), good)
        labels = f"models/counter/labels/{good.name}"
        await office.move(labels, {"tags": {"a": 1}, "notes": "\ud800"}, 1)
        aliases = "models/counter/aliases"
        await office.move(f"{aliases}/odd", {"version": good.name, "principal": "\ud800"}, 1)
        endless = [{"version": good.name, "weight": 1e308}, {"version": "f" * 32, "weight": 1e308}]
        for number, split in enumerate(({}, {"versions": 7}, [1], {"versions": endless})):
            await office.move(f"{aliases}/s{number}", {"version": good.name, "split": split}, 1)
        await office.move(f"{aliases}/{'e' * 32}", {"version": good.name}, 1)  # the id of another
        await office.move(f"{aliases}/production", {"version": good.name}, 1)

    server = start_server("--model-name", "counter", "--storage", str(store), "--no-warm-start")
    address = f"/v2/models/counter/weights/{good.name}"
    deadline = time.monotonic() + 20
    while "production" not in (told := server.get(address).json()).get("aliases", ()):
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    assert told["tags"] == [] and told["aliases"] == ["latest", "production"]
    assert server.get("/v2/datasets/").json()["datasets"] == []
    server.stop()
    log = "\n".join(server.lines)
    assert f"datasets/{bad.name}" in log
    assert "failed" not in log
