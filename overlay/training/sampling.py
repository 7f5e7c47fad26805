"""Pictures from the net: a few steps along the flow from noise to picture."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from overlay.training.flow_transformer import FlowTransformer
from overlay.training.lessons import Texts

TIMES = (0.0, 0.25, 0.5, 0.75)
"""Where the four steps begin; the last one ends at 1, the picture."""


@torch.no_grad()
def pictures(
    net: FlowTransformer,
    texts: Texts,
    style: torch.Tensor,
    noise: torch.Tensor,
    times: tuple[float, ...] = TIMES,
    guidance: float = 1.0,
) -> Iterator[torch.Tensor]:
    """(B, 4, S, S) after every step: what the net then takes for the clean picture."""
    state = noise
    for place, time in enumerate(times):
        clean = guided(net, state, time, texts, style, guidance)
        yield clean
        if place + 1 < len(times):
            state = state + (times[place + 1] - time) / (1.0 - time) * (clean - state)


def guided(
    net: FlowTransformer,
    state: torch.Tensor,
    time: float,
    texts: Texts,
    style: torch.Tensor,
    guidance: float,
) -> torch.Tensor:
    """The clean picture, away from what the net would say without words (Ho and Salimans 2022,
    "Classifier-free diffusion guidance"); 1 = no guidance."""
    at = torch.full((len(state),), time, device=state.device)
    words, sentence = texts.words.float(), texts.sentence.float()
    clean = net(state, at, words, sentence, style)
    if guidance == 1.0:
        return clean
    without = net(state, at, torch.zeros_like(words), torch.zeros_like(sentence), style)
    return (without + guidance * (clean - without)).clamp(-1.0, 1.0)
