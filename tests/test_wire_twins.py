"""The page's messages, samples and clock in node: the same bytes and numbers as Python's."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from headset.webxr.client_messages import (
    Capability,
    Displayed,
    EchoMessage,
    Hello,
    NeedKey,
    PageStatistics,
    PanelMoved,
    Payload,
    Wish,
)
from headset.webxr.messages import MessageError, pack_message, parse_message
from headset.webxr.prompt_messages import (
    PanelChosen,
    PanelDismissed,
    Pinched,
    Prompt,
    PromptAct,
    Speech,
)
from headset.webxr.sample_coding import EYE_FROM_VIEW, DeviceSample, pack_sample
from streams.clock import Echo, RemoteClock
from streams.rigid import Rigid
from tests.test_wire_messages import random_sample
from tests.wire_twins import pieces, run_twins

MS = 1_000_000


def test_the_page_accepts_and_refuses_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    good = [pack_message(pack_sample(random_sample(rng))), pack_message(Wish().message())]
    good += [pack_message(Hello(Capability(7), name="Quest").message())]
    good += [pack_message(PanelMoved("board", Rigid(), (1.0, 1.0)).message())]
    good += [pack_message(Prompt("a cat", PromptAct.KEPT).message())]
    good += [pack_message(Speech(np.zeros(3, np.int16)).message())]
    sent = list(good)
    for k in range(3000):
        data = bytearray(good[k % len(good)])
        for _ in range(1 + k % 3):
            # Headers are where lengths and kinds are.
            data[int(rng.integers(min(len(data), 60)))] = int(rng.integers(256))
        sent.append(bytes(data[: int(rng.integers(len(data) + 1))] if k % 4 == 0 else data))
    told = run_twins(tmp_path, {"messages.bin": pieces(sent)})["messages"]
    assert len(told) == len(sent)
    for data, same in zip(sent, told, strict=True):
        try:
            ours = pack_message(parse_message(data)) == data
        except MessageError:
            ours = None
        assert same is ours
    assert told.count(True) > 100
    assert told.count(None) > 1000


def test_the_page_packs_samples_to_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    samples, jobs = [], []
    for k in range(60):
        made = random_sample(rng)
        t_ms = 1_700_000_000_000 + k * 11
        left = made.left if k % 3 else None
        sample = DeviceSample(t_ms * MS, made.world_from_head, left, made.right, made.views)
        samples.append(sample)
        eyes = [
            {
                "eye": view.eye,
                "wxyz": (view.world_from_eye @ EYE_FROM_VIEW).wxyz.tolist(),
                "xyz": view.world_from_eye.xyz.tolist(),
                "fov": view.fov.tolist(),
                "size": list(view.size),
            }
            for view in made.views
        ]
        jobs.append(
            {
                "tMs": t_ms,
                "head": {
                    "wxyz": made.world_from_head.wxyz.tolist(),
                    "xyz": made.world_from_head.xyz.tolist(),
                },
                "left": None if left is None else left.ravel().tolist(),
                "right": None if made.right is None else made.right.ravel().tolist(),
                "views": eyes,
            }
        )
    told = run_twins(tmp_path, {"samples.json": jobs})
    for sample, theirs, views, job in zip(
        samples, told["samples"], told["views"], jobs, strict=True
    ):
        ours = pack_message(pack_sample(sample))
        packed = base64.b64decode(theirs)
        assert len(packed) == len(ours)
        # numpy rounds halves to even, JavaScript up: no more than one step, and hardly ever.
        assert np.abs(np.frombuffer(ours, np.uint8) != np.frombuffer(packed, np.uint8)).sum() <= 2
        for view, sent in zip(views, job["views"], strict=True):
            assert view["eye"] == sent["eye"]
            assert view["size"] == sent["size"]
            assert np.allclose(view["xyz"], sent["xyz"], atol=6e-6)
            assert np.allclose(view["fov"], sent["fov"], atol=3e-5)
            assert abs(abs(np.dot(view["wxyz"], sent["wxyz"])) - 1) < 1e-8
    equal = [
        base64.b64decode(theirs) == pack_message(pack_sample(sample))
        for sample, theirs in zip(samples, told["samples"], strict=True)
    ]
    assert np.mean(equal) > 0.95


def test_the_page_says_the_same_bytes(tmp_path: Path) -> None:
    told = run_twins(tmp_path, {"client.json": []})["client"]
    place = Rigid.from_translation((1.0, 2.0, 3.0))
    ours = [
        Hello(Capability.GEOMETRY | Capability.NODES, 512, "Oculus Browser"),
        Displayed(7, 1, 123_456_000, 2.5),
        NeedKey(3, 99),
        Wish(Payload.CODE, 1_000_000),
        PageStatistics(30.0, 41.5, 900.0, 0.25),
        PanelMoved("board", place, (0.5, 0.25)),
        EchoMessage(123_456_789),
        EchoMessage(123_456_789, 987_654_321),
        Prompt("", PromptAct.TYPED),
        Prompt("a \u732b \U0001f63a", PromptAct.TAKEN),
        PanelChosen("shelf 0"),
        PanelDismissed("imagined"),
        Pinched(place),
        Speech(np.array([0, -32768, 32767], np.int16), last=True),
    ]
    for theirs, one in zip(told, ours, strict=True):
        assert base64.b64decode(theirs) == pack_message(one.message())


def test_the_page_estimates_the_clock_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    echoes, clock, expected = [], RemoteClock(), []
    offset = 123_456.789
    for k in range(120):
        sent = 1000.0 * k
        there, back = rng.exponential(4.0, 2) + 1.0
        remote = sent + there + offset + (5_000.0 if k >= 80 else 0.0)  # set once
        echoes.append([sent, remote, sent + there + back])
        clock.add(Echo(*(round(t * MS) for t in echoes[-1])))
        at = round(echoes[-1][2] * MS)
        expected.append(
            (clock.offset_ns(at), clock.error_bound_ns(at),
             clock.local_from_remote(round(remote * MS)))
        )  # fmt: skip
    told = run_twins(tmp_path, {"echoes.json": echoes})["clock"]
    for theirs, (offset_ns, bound_ns, local_ns) in zip(told, expected, strict=True):
        assert theirs["offsetMs"] * MS == pytest.approx(offset_ns, abs=1000)
        assert theirs["boundMs"] * MS == pytest.approx(bound_ns, abs=1000)
        assert theirs["local"] * MS == pytest.approx(local_ns, abs=1000)
