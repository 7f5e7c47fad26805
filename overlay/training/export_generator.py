"""Writes a distilled net as the ONNX file with int8 weights that ships.

    pip install 'visavis[onnx]'
    python -m overlay.training.export_generator RUN

The matrices become int8 with a scale for each output, and float32 again when the file is opened.
Arithmetic in int8 ("dynamic quantization") would be twice as fast, but a step takes 5 ms as it is,
and on random input it was farther from float32 (0.031 against 0.019, root mean square).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from torch import nn

from assets.manifest import assets_folder
from assets.manifest import main as manifest
from overlay.flow_model import ASSET
from overlay.sticker_book import Sticker, StickerBook
from overlay.training.concepts import COLOURS, Concept, number_concepts
from overlay.training.flow_transformer import (
    TEXT_SIZE,
    TEXT_TOKENS,
    FlowTransformer,
)
from overlay.training.sampling import TIMES


class _OneStyle(nn.Module):
    """The net with its style chosen."""

    def __init__(self, net: FlowTransformer, style: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("style", torch.tensor([style]))

    def forward(
        self, state: torch.Tensor, time: torch.Tensor, words: torch.Tensor, sentence: torch.Tensor
    ) -> torch.Tensor:
        return self.net(state, time, words, sentence, self.style)


def export(
    net: FlowTransformer, style: int, lesson: dict[str, object], path: Path, int8: bool = True
) -> None:
    """Write the file; `lesson` is what `overlay.flow_model.Lesson` reads."""
    import onnx

    side = net.shape.side
    inputs = (
        torch.zeros(1, 4, side, side),
        torch.zeros(1),
        torch.zeros(1, TEXT_TOKENS, TEXT_SIZE),
        torch.zeros(1, TEXT_SIZE),
    )
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        torch.onnx.export(
            _OneStyle(net.eval(), style),
            inputs,
            str(plain),
            input_names=["state", "time", "words", "sentence"],
            output_names=["clean"],
            opset_version=17,
            dynamo=False,
        )
        model = onnx.load(plain)
    if int8:
        _store_as_int8(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = "lesson", json.dumps(lesson, ensure_ascii=False)
    packed = zstandard.ZstdCompressor(level=19).compress(model.SerializeToString())
    path.write_bytes(packed)


def _store_as_int8(model: Any) -> None:
    """Turn each matrix that something is multiplied by into int8 and a node that undoes it."""
    from onnx import helper, numpy_helper

    graph = model.graph
    matrices = {i.name: i for i in graph.initializer if len(i.dims) == 2 and min(i.dims) >= 64}
    nodes = []
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in matrices:
            continue
        name = node.input[1]
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        rows = numpy_helper.to_array(matrices[name])
        axis = 0 if turned else 1
        scale = np.abs(rows).max(axis=1 - axis, keepdims=True) / 127.0
        scale = np.maximum(scale, 1e-12).astype(np.float32)
        codes = np.rint(rows / scale).astype(np.int8)
        matrices[name].CopyFrom(numpy_helper.from_array(codes, name))
        graph.initializer.append(numpy_helper.from_array(scale.ravel(), f"{name}_scale"))
        node.input[1] = f"{name}_float"
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [name, f"{name}_scale"], [f"{name}_float"], axis=axis
            )
        )
        del matrices[name]
    for node in reversed(nodes):
        graph.node.insert(0, node)


def lesson_of(
    concepts: Sequence[Concept], stickers: Sequence[Sticker], style: str, side: int
) -> dict[str, object]:
    """What the file says of what it learned. Another drawing of a thing that it learned, the whole
    cat beside the cat's face, is that thing by its name."""
    said = {name: concept.name for concept in concepts for name in concept.names}
    names = {s.emoji: said[s.names[0]] for s in stickers if s.names[0] in said}
    return {
        "side": side,
        "times": TIMES,
        "style": style,
        "colours": COLOURS,
        "names": names | {concept.emoji: concept.name for concept in concepts},
        "tokens": TEXT_TOKENS,
    }


def main() -> None:
    from overlay.training.distil_generator import DISTILLED

    parser = argparse.ArgumentParser(description="export the small generator")
    parser.add_argument("run", type=Path, help="folder of a run that was distilled")
    parser.add_argument("--out", type=Path, default=assets_folder() / ASSET)
    parser.add_argument("--checkpoint", default=DISTILLED)
    parser.add_argument("--float", action="store_true", help="keep the weights as they are")
    chosen = parser.parse_args()
    saved = torch.load(chosen.run / chosen.checkpoint, map_location="cpu", weights_only=True)
    net = FlowTransformer.of_run(saved)
    stickers = StickerBook.load().stickers
    by_emoji = {sticker.emoji: sticker for sticker in stickers}
    concepts = number_concepts([by_emoji[emoji] for emoji in saved["concepts"]])
    lesson = lesson_of(concepts, stickers, saved["styles"][0], net.shape.side)
    export(net, 0, lesson, chosen.out, int8=not chosen.float)
    if chosen.out == assets_folder() / ASSET:
        source = "trained by python -m overlay.training.train_generator on Fluent Emoji (MIT)"
        manifest(["--update", str(chosen.out), "--licence", "Apache-2.0", "--source", source])
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes, {len(concepts)} things")


if __name__ == "__main__":
    main()
