"""Idempotency-Key: the same request again makes no second run."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from modelyard.errors import IdempotencyConflict
from modelyard.records.tables import idempotency
from modelyard.schemas.transport import FilePart, RequestData
from modelyard.training.replays import sent_digest


async def _runs(yard: Any) -> int:
    return len((await yard.service.list("behaving"))[0])


async def test_same_key_and_request_give_the_same_run(yard: Any) -> None:
    first = await yard.submit(key="one")
    again = await yard.submit(key="one")
    assert again.id == first.id
    assert await _runs(yard) == 1


async def test_same_key_with_another_request_is_refused(yard: Any) -> None:
    await yard.submit(key="one")
    with pytest.raises(IdempotencyConflict):
        await yard.submit(key="one", arguments={"steps": 6})
    assert await _runs(yard) == 1


async def test_other_keys_and_other_principals_make_other_runs(yard: Any) -> None:
    ids = {
        (await yard.submit(key="one")).id,
        (await yard.submit(key="two")).id,
        (await yard.submit(key="one", principal="somebody")).id,
    }
    assert len(ids) == 3


async def test_requests_at_the_same_time_make_one_run(yard: Any) -> None:
    records = await asyncio.gather(*(yard.submit(key="one") for _ in range(20)))
    assert len({record.id for record in records}) == 1
    assert await _runs(yard) == 1


async def test_second_request_goes_on_if_the_first_one_failed(yard: Any) -> None:
    """The first names an upload that is not there; the key is free again for the second."""
    broken = RequestData(files=[FilePart("data", "missing.bin", "a.bin", "", 1, "00")])
    first, second = await asyncio.gather(
        yard.submit(key="one", request=broken, files=yard.root),
        yard.submit(key="one"),
        return_exceptions=True,
    )
    assert isinstance(first, Exception)
    assert not isinstance(second, BaseException)
    assert await _runs(yard) == 1


async def test_way_of_sending_does_not_matter(yard: Any) -> None:
    args = {"how": "finish", "steps": 3}
    by_json = RequestData(body=json.dumps({"steps": 3, "how": "finish"}).encode())
    by_query = RequestData(query=[("how", "finish"), ("steps", "3")])
    first = await yard.submit(key="one", request=by_json, args=args)
    assert (await yard.submit(key="one", request=by_query, args=args)).id == first.id


async def test_default_that_differs_each_time_is_no_other_request(yard: Any) -> None:
    request = RequestData(body=b'{"how": "finish"}')
    first = await yard.submit(key="one", request=request, args={"how": "finish", "seed": 1})
    again = await yard.submit(key="one", request=request, args={"how": "finish", "seed": 2})
    assert again.id == first.id


async def test_files_are_told_apart_by_their_content(yard: Any, tmp_path: Path) -> None:
    def upload(content: bytes) -> dict[str, Any]:
        folder = tmp_path / f"call-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "0.bin").write_bytes(content)
        part = FilePart("data", "0.bin", "client's name.bin", "", len(content))
        query = [("how", "finish")]
        return {"request": RequestData(query=query, files=[part]), "files": folder}

    first = await yard.submit(key="one", args={"how": "finish"}, **upload(b"same"))
    again = await yard.submit(key="one", args={"how": "finish"}, **upload(b"same"))
    assert again.id == first.id
    with pytest.raises(IdempotencyConflict):
        await yard.submit(key="one", args={"how": "finish"}, **upload(b"other"))


async def test_key_is_free_again_after_a_day(yard: Any) -> None:
    first = await yard.submit(key="one")
    yesterday = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    await yard.store.write(lambda c: c.execute(update(idempotency).values(created_at=yesterday)))
    assert (await yard.submit(key="one")).id != first.id


async def test_key_is_remembered_by_the_next_server(new_yard: Any) -> None:
    yard = await new_yard()
    first = await yard.submit(key="one")
    await yard.stop()
    yard = await new_yard()
    assert (await yard.submit(key="one")).id == first.id


async def test_records_do_not_hold_the_key(yard: Any) -> None:
    await yard.submit(key="a-secret-key-of-a-client")
    rows = await yard.store.read(lambda c: c.execute(idempotency.select()).all())
    assert "a-secret-key-of-a-client" not in repr(rows)


def test_what_was_not_sent_does_not_matter_whatever_a_model_looks_for_by_now() -> None:
    request = RequestData(body=b'{"steps": 1}')
    before = sent_digest("one", request, None, {"like": None})
    assert before == sent_digest("one", request, None, {"like": None, "mood:": None})
    assert before != sent_digest("one", request, None, {"like": None, "mood:": ""})
