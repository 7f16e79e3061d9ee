"""What goes over a worker's socket arrives as it was sent, however it is cut."""

import os
import socket

import pytest

from modelyard import errors
from modelyard.serving import messages
from modelyard.serving.failures import error_of, failed
from modelyard.serving.frames import (
    LENGTHS,
    SHARED_FROM,
    BrokenFrame,
    FrameReader,
    encode,
    encode_shared,
    receive,
    send,
)

FRAMES = [(b"{}", b""), (b'{"a":1}', b"body"), (b"[]", bytes(100_000))]


@pytest.mark.parametrize("step", [1, 7, 4096, 10**6])
def test_frames_arrive_whole_however_they_are_cut(step):
    stream = b"".join(encode(header, body) for header, body in FRAMES)
    reader = FrameReader()
    arrived = []
    if step == 1:
        stream = stream[:200]  # bytes one by one: the first two frames are enough
    for start in range(0, len(stream), step):
        arrived += reader.feed(stream[start : start + step])
    assert arrived == (FRAMES[:2] if step == 1 else FRAMES)


def test_nonsense_on_the_socket_is_told_and_not_waited_for():
    with pytest.raises(BrokenFrame):
        list(FrameReader().feed(LENGTHS.pack(2**32 - 1, 0)))


def test_large_bodies_come_by_shared_memory_among_small_ones_and_in_order():
    ours, theirs = socket.socketpair()
    sizes = [10, SHARED_FROM, 3 * SHARED_FROM + 1, 20, 30, SHARED_FROM]
    sent = [messages.Predict(n, body=bytes([n]) * size) for n, size in enumerate(sizes)]
    parcels = messages.pack_all(sent)
    assert [fd is not None for _, fd in parcels] == [False, True, True, False, True]
    assert sum(len(data) for data, _ in parcels) < 1000
    with ours, theirs:
        for data, fd in parcels:
            assert send(ours, data, fd) == len(data)
            if fd is not None:
                os.close(fd)
        reader, arrived = FrameReader(), []
        while len(arrived) < len(sent):
            for header, body in reader.feed(*receive(theirs, 7)):
                arrived.append(messages.unpack(header, body))
    assert arrived == sent


def test_a_body_that_is_not_where_its_frame_says_ends_the_connection():
    data, fd = encode_shared(b"{}", b"x" * 100)
    with pytest.raises(BrokenFrame, match="has not come"):
        list(FrameReader().feed(data))
    os.ftruncate(fd, 50)
    with pytest.raises(BrokenFrame, match="shorter"):
        list(FrameReader().feed(data, [fd]))
    with pytest.raises(OSError):
        os.fstat(fd)


@pytest.mark.parametrize(
    "message",
    [
        messages.Start(1, source={"name": "m", "value": "a:b"}),
        messages.Load(2, "/weights", "cuda:0"),
        messages.Describe(3),
        messages.Validate(4, "train", {"query": [["a", "b"]]}, b"{}"),
        messages.Predict(5, {"query": []}, "/folder", True, b"\x00\xff"),
        messages.Described(6, {"name": "m"}, 8),
        messages.Done(7),
        messages.Validated(8, {"a": None}, ["token"]),
        messages.Validated(8, {"a": 2**70, "b": -(10**40)}, []),
        messages.Validated(8, {"a": "\udce9"}, []),
        messages.Answered(9, "image/png", None, "a.png", b"\x89PNG", 0.25, 0.125),
        messages.Failed(10, "Busy", "later", {"x": 1}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_arrives_as_it_was_sent(message):
    ((header, body),) = FrameReader().feed(messages.pack(message))
    assert messages.unpack(header, body) == message


@pytest.mark.parametrize("header", [b"{}", b'{"kind":"Nobody"}', b'{"kind":"Done","more":1}', b"["])
def test_what_is_no_message_is_refused(header):
    with pytest.raises(ValueError):
        messages.unpack(header, b"")


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArguments({"a": ["no"], "b": {"0": ["no"]}}),
        errors.InvalidRequest("not JSON"),
        errors.UnsupportedMediaType("text"),
        errors.NotAcceptable("ogg"),
        errors.NotSupported("later"),
        errors.PluginFailed("it failed", original_type="ValueError", traceback="lines"),
        errors.PluginRefused(418, "teapot"),
        errors.Busy("full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_worker_is_the_same_error_in_the_front(error):
    ((header, body),) = FrameReader().feed(messages.pack(failed(1, error)))
    told = error_of(messages.unpack(header, body))
    assert type(told) is type(error)
    assert told.message == error.message
    for name in ("errors", "status", "original_type", "traceback"):
        assert getattr(told, name, None) == getattr(error, name, None)


def test_an_error_that_the_front_does_not_know_is_the_models():
    told = error_of(messages.Failed(1, "FromTheFuture", "new"))
    assert isinstance(told, errors.PluginFailed)
    not_an_error = error_of(messages.Failed(1, "annotations", "new"))
    assert isinstance(not_an_error, errors.PluginFailed)
