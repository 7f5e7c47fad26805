"""A diffusion model that follows a stream of frames, each step of its net working on several.

The stream batch of Kodaira et al. (2023), "StreamDiffusion" (arXiv:2312.12491), section 3.1,
written from the paper: with n denoising steps, one run of the net takes n frames at once, each one
step further than the one that came after it. A frame's picture comes out n - 1 frames later; a
picture costs one run of the net and not n. Each step is that of a latent consistency model (Luo et
al. 2023): to the clean picture at once, and back to the next step's noise, which is the same for
all frames. No guidance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from overlay.image_model import ModelError

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0
"""Both of a consistency model's boundary condition: Luo et al. (2023), appendix."""


@dataclass(frozen=True, slots=True)
class StreamBatchOptions:
    """How far each frame is carried off and brought back."""

    timesteps: tuple[int, ...] = (749, 499)
    """Of the training's 1000, falling: the first is how much noise a frame gets."""
    seed: int = 0

    def __post_init__(self) -> None:
        steps = self.timesteps
        falling = all(a > b for a, b in itertools.pairwise(steps))
        if not steps or not falling or steps[-1] < 0 or steps[0] > 999:
            raise ValueError(
                f"StreamBatchOptions.timesteps: expected falling ones from 0 to 999, got {steps}"
            )


class StreamBatch:
    """Runs the net and the picture coder of a Stable Diffusion pipeline (4-channel latents).

    Raises ModelError for another kind of pipeline.
    """

    def __init__(self, pipe: Any, options: StreamBatchOptions | None = None) -> None:
        self.options = options or StreamBatchOptions()
        net, coder = getattr(pipe, "unet", None), getattr(pipe, "vae", None)
        if net is None or coder is None or net.config.in_channels != 4:
            raise ModelError(
                f"{type(pipe).__name__}: expected a Stable Diffusion pipeline with a U-Net of 4 "
                "channels; this kind is not streamed"
            )
        self._pipe: Any = pipe
        self._net: Any = net
        self._coder: Any = coder
        self._device, self._dtype = self._net.device, self._net.dtype
        self._predicts = pipe.scheduler.config.prediction_type
        alphas = pipe.scheduler.alphas_cumprod.double()
        at = torch.tensor(self.options.timesteps)
        self._steps = at.to(self._device)
        shape = (len(at), 1, 1, 1)
        self._alpha = self._put(alphas[at].sqrt(), shape)
        self._sigma = self._put((1.0 - alphas[at]).sqrt(), shape)
        scaled = at.double() * TIMESTEP_SCALING
        self._keep = self._put(SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2), shape)
        self._make = self._put(scaled / (scaled**2 + SIGMA_DATA**2).sqrt(), shape)
        self._noise: torch.Tensor | None = None
        self._waiting: torch.Tensor | None = None
        """(n - 1, 4, h, w): earlier frames, each noised for the step that it takes next."""
        self._filled = 0
        self._words: torch.Tensor | None = None

    @property
    def delay(self) -> int:
        """Frames from a frame to its picture."""
        return len(self.options.timesteps) - 1

    def prompt(self, text: str) -> None:
        """What the pictures show from the next run on, also of frames that are on their way."""
        with torch.inference_mode():
            words = self._pipe.encode_prompt(text, self._device, 1, False)[0]
        self._words = words.to(self._dtype)

    def restart(self) -> None:
        """Forget the frames that are on their way, for example where the size changes."""
        self._waiting = self._noise = None
        self._filled = 0

    @torch.inference_mode()
    def push(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        """Take in an (H, W, 3) uint8 frame, sides multiples of 8; give the picture of the frame
        `delay` frames ago, of the same shape, or None while there is none."""
        return self._decoded(self.push_latent(self._encoded(frame)))

    @torch.inference_mode()
    def push_latent(self, clean: torch.Tensor) -> torch.Tensor | None:
        """The same between latents, (4, h, w)."""
        noise = self._noise_like(clean)
        first = self._alpha[0] * clean + self._sigma[0] * noise[0]
        if self._waiting is None or self._waiting.shape[1:] != clean.shape:
            self._waiting = torch.zeros((self.delay, *clean.shape)).to(clean)
            self._filled = 0
        batch = torch.cat([first[None], self._waiting])
        made = self._denoised(batch, self._steps, slice(None))
        # What took step k stands before step k + 1; the last one is done.
        self._waiting = self._alpha[1:] * made[:-1] + self._sigma[1:] * noise[1:]
        self._filled += 1
        return made[-1] if self._filled > self.delay else None

    @torch.inference_mode()
    def one_by_one(self, clean: torch.Tensor) -> torch.Tensor:
        """What `push_latent` gives for that frame, one step after the other: its specification."""
        noise = self._noise_like(clean)
        latent = clean
        for k in range(len(self.options.timesteps)):
            latent = self._alpha[k] * latent + self._sigma[k] * noise[k]
            latent = self._denoised(latent[None], self._steps[k : k + 1], slice(k, k + 1))[0]
        return latent

    def _denoised(self, noisy: torch.Tensor, steps: torch.Tensor, which: slice) -> torch.Tensor:
        """The clean latents as the net sees them at those steps."""
        if self._words is None:
            raise ModelError("StreamBatch: expected a prompt before the first frame")
        words = self._words.expand(len(noisy), -1, -1)
        out = self._net(noisy, steps, encoder_hidden_states=words, return_dict=False)[0]
        alpha, sigma = self._alpha[which], self._sigma[which]
        if self._predicts == "epsilon":
            clean = (noisy - sigma * out) / alpha
        elif self._predicts == "v_prediction":
            clean = alpha * noisy - sigma * out
        else:
            clean = out
        return self._make[which] * clean + self._keep[which] * noisy

    def _noise_like(self, clean: torch.Tensor) -> torch.Tensor:
        if self._noise is None or self._noise.shape[1:] != clean.shape:
            generator = torch.Generator("cpu").manual_seed(self.options.seed)
            shape = (len(self.options.timesteps), *clean.shape)
            self._noise = torch.randn(shape, generator=generator).to(clean)
        return self._noise

    def _encoded(self, frame: npt.NDArray[np.uint8]) -> torch.Tensor:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"StreamBatch: expected uint8 (H, W, 3), got {frame.shape}")
        if frame.shape[0] % 8 or frame.shape[1] % 8:
            raise ValueError(f"StreamBatch: expected sides that 8 divides, got {frame.shape[:2]}")
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device, self._dtype)
        pixels = (pixels / 127.5 - 1.0).permute(2, 0, 1)[None]
        coded = self._coder.encode(pixels)
        # A tiny coder gives latents, a full one their distribution, of which the middle is used.
        latents = coded.latents if hasattr(coded, "latents") else coded.latent_dist.mode()
        return latents[0] * self._coder.config.scaling_factor

    def _decoded(self, latent: torch.Tensor | None) -> npt.NDArray[np.uint8] | None:
        if latent is None:
            return None
        scaled = latent[None] / self._coder.config.scaling_factor
        pixels = self._coder.decode(scaled, return_dict=False)[0][0].float().permute(1, 2, 0)
        shown = ((pixels + 1.0) * 127.5).clamp(0, 255).round()
        return shown.to(torch.uint8).cpu().numpy()

    def _put(self, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return values.reshape(shape).to(self._device, self._dtype)
