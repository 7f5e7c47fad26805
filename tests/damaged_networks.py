"""Opens damaged networks until one ends the process: `python -m tests.damaged_networks EXAMPLES`.

A process of its own, because what it looks for takes the process along. Prints what became of the
examples; a network that opens although it is damaged is run.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.manifest import asset_path
from tracking.net import NETS
from tracking.nets.bundle import network_bytes
from tracking.nets.litert import LiteRtNets
from tracking.nets.torch_nets import TorchNets

NETWORK = "face_blendshapes"
"""Of the most kinds of operators."""
SPEC = NETS[NETWORK]
WHOLE = network_bytes(SPEC, asset_path(SPEC.bundle))
GRAPH = 40_000
"""Bytes at the file's end that are not weights but operators, shapes and options."""

places = st.integers(0, len(WHOLE) - 1) | st.integers(len(WHOLE) - GRAPH, len(WHOLE) - 1)
bytes_that_matter = st.sampled_from([0, 1, 2, 3, 4, 127, 128, 255]) | st.integers(0, 255)
changes = st.lists(st.tuples(places, bytes_that_matter), min_size=1, max_size=8)


def _changed(where: list[tuple[int, int]]) -> bytes:
    model = bytearray(WHOLE)
    for place, value in where:
        model[place] = value
    return bytes(model)


models = st.one_of(
    st.binary(max_size=600),
    st.binary(max_size=600).map(lambda rest: b"\x1c\0\0\0TFL3" + rest),
    st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end]),
    changes.map(_changed),
    changes.map(_changed),
)


def main(examples: int) -> None:
    became: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "fuzzed.task"
        engines = LiteRtNets(1, {SPEC.bundle: bundle}), TorchNets(bundles={SPEC.bundle: bundle})
        batch = np.random.default_rng(1).uniform(100, 500, (1, 146, 2)).astype(np.float32)

        @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
        @given(models)
        def open_and_run(model: bytes) -> None:
            with zipfile.ZipFile(bundle, "w") as archive:
                archive.writestr(SPEC.member, model)
            for engine in engines:
                try:
                    (answer,) = engine.open(NETWORK)(batch)
                except ValueError as error:
                    named = f"{bundle}: " in str(error)
                    became[f"{engine.name} refused" if named else f"unnamed: {error}"] += 1
                else:
                    assert answer.shape == (1, 52)
                    became[f"{engine.name} ran"] += 1

        open_and_run()
    print(dict(became))


if __name__ == "__main__":
    main(int(sys.argv[1]))
