"""How fast pictures follow typing: `python -m benchmarks.imagine [--sheet FILE.png]`.

- prompt to picture, of the instant model alone, over the prompts of the contact sheet;
- prompt to the small generator's first and last step;
- keystroke to sticker, typing 20 characters at 5 to 20 a second through LiveGeneration, as the
  preview does (384 pixels), with what runs at most at once and what is left over;
- the render thread's frame time with and without somebody typing, pair by pair;
- with `--diffusion`: pictures a second of a random-weight net of SD-Turbo's size, streamed
  (needs the extra diffusers, and a GPU to mean anything).

`--sheet` draws the prompts' pictures into one: docs/imagine_stickers.png.
"""

from __future__ import annotations

import argparse
import gc
import os
import textwrap
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from apps.imagine import labelled
from overlay.flow_model import FlowModel
from overlay.generation_event import GenerationFailed, PictureUpdate
from overlay.image_model import ModelError, final_step
from overlay.live_generation import LiveGeneration
from overlay.sticker_model import StickerModel
from overlay.svg_process import SvgProcess
from overlay.wish import Wish

LIVE_SIZE = (384, 384)
PROMPTS = (
    "three dogs beside an old man at sunset",
    "a blue cat next to a red car",
    "a red apple",
    "a green apple on a book",
    "two purple elephants in the forest",
    "a tropical beach",
    "coffee",
    "a rocket in space",
    "a cat wearing a hat",
    "a pink pig on top of a yellow car",
    "five penguins in the snow",
    "a whale under the sea",
    "an astronaut on the moon",
    "a yellow bird above a house",
    "a dragon behind a castle at night",
    "a tiny mouse in front of a huge elephant",
    "melancholy jazz",
    "a black cat and a white dog",
    "a green horse with a purple guitar",
    "a fish in a bowl",
    "seven sheep in a meadow at sunrise",
    "a ship on the sea at night",
    "a robot holding a flower",
    "a red balloon over the mountains",
    "🐶🐶 on 🚗",
    "a camel in the desert",
    "a man in a red shirt",
    "a frog on a pink mushroom in the rain",
    "a white horse running on the beach at sunset",
    "lots of butterflies in a garden",
    "a cup of coffee on a book next to a lamp",
    "a blue house with a red door",
    "a knight fighting a dragon",
    "small dog under a big table",
    "cyberpunk skyline",
    "gobbledygook xyzzy",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="how fast pictures follow typing")
    parser.add_argument("--sheet", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--diffusion", action="store_true")
    options = parser.parse_args()
    if options.sheet is not None:
        contact_sheet(options.sheet)
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    begun = time.perf_counter()
    model = StickerModel(process=SvgProcess())
    print(f"opening the sticker model: {1e3 * (time.perf_counter() - begun):.0f} ms")
    final_step(model, Wish("warm up", size=LIVE_SIZE))
    prompt_times(model, options.rounds)
    generator_times(options.rounds)
    typing_times(model, options.rounds)
    render_times(model, options.rounds)
    if options.diffusion:
        diffusion_times(options.rounds)


def told(name: str, milliseconds: list[float]) -> None:
    p50, p95 = np.percentile(milliseconds, (50, 95))
    print(f"{name}: p50 {p50:.1f}, p95 {p95:.1f}, worst {max(milliseconds):.1f} ms")


def prompt_times(model: StickerModel, rounds: int) -> None:
    """New words each time, so that no vector is remembered. Drawn in this process, so that its
    CPU time is all that is spent: that hardly depends on what else the machine does."""
    model = StickerModel(model.search)
    spent: dict[str, list[float]] = {"384": [], "512": []}
    busy: dict[str, list[float]] = {"384": [], "512": []}
    for number in range(rounds):
        for prompt in PROMPTS[:-1]:
            for side, times in spent.items():
                model.search.encoder._one.cache_clear()
                model.search._find.cache_clear()
                wish = Wish(prompt, seed=number, size=(int(side), int(side)))
                begun, cpu = time.perf_counter(), time.process_time()
                final_step(model, wish)
                times.append(1e3 * (time.perf_counter() - begun))
                busy[side].append(1e3 * (time.process_time() - cpu))
    for side, times in spent.items():
        told(f"prompt to picture of {side} pixels, {len(times)} times", times)
        told("  CPU time of it", busy[side])


def generator_times(rounds: int) -> None:
    """The generator's first and last step after a new prompt, with the words' encoding, and the
    CPU time of all four."""
    model = FlowModel()
    begun = time.process_time()
    final_step(model, Wish("a cat", size=LIVE_SIZE))
    print(f"opening the generator: {1e3 * (time.process_time() - begun):.0f} ms of CPU time")
    first: list[float] = []
    last: list[float] = []
    busy: list[float] = []
    for number in range(rounds):
        for colour in ("red", "blue", "green", "pink"):
            for thing in ("cat", "house", "guitar next to a banana", "balloon", "fish"):
                wish = Wish(f"a {colour} {thing}", seed=number, size=LIVE_SIZE)
                begun, cpu = time.perf_counter(), time.process_time()
                for step in model.steps(wish, lambda: False):
                    times = first if step.step == 1 else last if step.final else None
                    if times is not None:
                        times.append(1e3 * (time.perf_counter() - begun))
                busy.append(1e3 * (time.process_time() - cpu))
    told(f"prompt to the generator's first step, {len(first)} times", first)
    told("prompt to its last step", last)
    told("  CPU time of all steps", busy)


def typing_times(model: StickerModel, rounds: int) -> None:
    """From each key to the first picture of its words, or of the words that outran them."""
    text = "a blue cat in a car "
    for rate in (5, 10, 20):
        waits: list[float] = []
        threads = threading.active_count()
        tracemalloc.start()
        held: list[int] = []
        pictures = 0
        for number in range(rounds):
            keys: dict[int, float] = {}
            with LiveGeneration([model]) as live:
                for end in range(3, len(text) + 1):
                    key = time.perf_counter()
                    keys[live.ask(Wish(text[:end], seed=number, size=LIVE_SIZE))] = key
                    while time.perf_counter() < key + 1.0 / rate:
                        pictures += _arrived(live, keys, waits)
                        time.sleep(0.001)
                live.wait_until_idle(10)
                pictures += _arrived(live, keys, waits)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        told(f"key to picture at {rate} keys a second, {len(waits)} keys", waits)
        print(
            f"  {pictures} pictures; left over: {threading.active_count() - threads} threads, "
            f"{(held[-1] - held[0]) / 1e3 / max(rounds - 1, 1):.1f} kB a round"
        )


def _arrived(live: LiveGeneration, keys: dict[int, float], waits: list[float]) -> int:
    """Take what is ready, and note how long the keys that it answers have waited. Half a word that
    no sticker is near to is answered by a message, and not counted."""
    now = time.perf_counter()
    pictures = 0
    for event in live.take_events():
        if isinstance(event, GenerationFailed):
            keys.pop(event.generation, None)
        elif isinstance(event, PictureUpdate):
            pictures += 1
            for generation in [g for g in keys if g <= event.generation]:
                waits.append(1e3 * (now - keys.pop(generation)))
    return pictures


def render_times(model: StickerModel, rounds: int) -> None:
    """The time of drawing a person with a panel, while nobody and while somebody types."""
    import cv2

    from apps.preview_panels import PANEL_DISTANCE
    from apps.sources import open_synthetic
    from apps.viewpoint import world_from_facing
    from avatar.opening import open_avatar
    from capture.synthetic import SyntheticOptions
    from render.renderer import RenderOptions, open_renderer
    from streams.camera import Camera
    from streams.view import View

    cv2.setNumThreads(1)
    camera = Camera.from_fov((640, 480), float(np.deg2rad(56)), name="synthetic")
    with (
        open_synthetic("still", SyntheticOptions(camera=camera)) as source,
        open_avatar("default") as avatar,
        open_renderer("gl", RenderOptions(depth=False)) as renderer,
    ):
        frame = next(iter(source))
        view = View.from_camera(camera, 0)
        code = avatar.encode(source.truth(frame.seq), frame)
        place = world_from_facing(view, 0.6, 0.6, PANEL_DISTANCE)
        first = final_step(model, Wish("a cat", size=LIVE_SIZE))
        from overlay.image_panel import image_panel

        panel = image_panel("imagined", first.rgba, "world", place, 0.1, model.label)
        quiet: list[float] = []
        typing: list[float] = []
        text = "a blue cat next to a red car at sunset"
        for number in range(2 * rounds):
            is_typing = number % 2 == 1
            with LiveGeneration([model]) as live:
                end, due = 3, time.perf_counter()
                shown = panel
                for _ in range(40):
                    if is_typing and time.perf_counter() >= due and end <= len(text):
                        live.ask(Wish(text[:end], seed=number, size=LIVE_SIZE))
                        end, due = end + 1, due + 0.1
                    for event in live.take_events():
                        if isinstance(event, PictureUpdate):
                            shown = event.panel("imagined", "world", place, 0.1)
                    mesh = avatar.decode(code, view)
                    begun = time.perf_counter()
                    renderer.draw(mesh, view, (shown,))
                    (typing if is_typing else quiet).append(1e3 * (time.perf_counter() - begun))
                    time.sleep(max(0.0, 1 / 30 - (time.perf_counter() - begun)))
        told(f"drawing while nobody types, {len(quiet)} frames", quiet)
        told(f"drawing while somebody types, {len(typing)} frames", typing)
        change = np.percentile(typing, 95) / np.percentile(quiet, 95) - 1.0
        print(f"  p95 changes by {100 * change:+.1f} %")


def diffusion_times(rounds: int) -> None:
    """Pictures a second of a net of SD-Turbo's size with random weights, 512 x 512, one step by
    itself and in a stream batch of two, without and with the picture coder (a tiny one)."""
    import torch
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_lcm import LCMScheduler

    from overlay.stream_batch import StreamBatch, StreamBatchOptions

    on_card = torch.cuda.is_available()
    device = "cuda" if on_card else "cpu"
    dtype = torch.float16 if on_card else torch.float32
    with torch.device(device):
        net = UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=1024,
            attention_head_dim=(5, 10, 20, 20),  # pyright: ignore[reportArgumentType]
            use_linear_projection=True,
        )
        coder = AutoencoderTiny()
    torch.nn.Module.to(net, dtype=dtype)
    torch.nn.Module.to(coder, dtype=dtype)

    class Pipe:
        """What a stream batch asks of a pipeline."""

        unet, vae = net.eval(), coder.eval()
        scheduler = LCMScheduler()

        def encode_prompt(self, *_: object) -> tuple[torch.Tensor]:
            return (torch.zeros(1, 77, 1024, device=device, dtype=dtype),)

    frame = np.full((512, 512, 3), 100, np.uint8)
    for steps in ((499,), (749, 499)):
        stream = StreamBatch(Pipe(), StreamBatchOptions(steps))
        stream.prompt("a cat")
        spent: list[float] = []
        for _ in range(10 * rounds + 5):
            begun = time.perf_counter()
            stream.push(frame)  # ends with a copy from the card: nothing is left running
            spent.append(1e3 * (time.perf_counter() - begun))
        told(f"stream of {len(steps)} steps on {device}, a frame", spent[5:])
        print(f"  {1e3 / float(np.median(spent[5:])):.1f} pictures a second")
    if on_card:
        print(f"  {torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the card's memory")


def contact_sheet(path: Path, side: int = 192, columns: int = 6) -> None:
    """Every prompt's picture with its label, and the prompt under it; none left out."""
    model = StickerModel()
    font = ImageFont.load_default(12)
    rows = -(-len(PROMPTS) // columns)
    sheet = PillowImage.new("RGB", (columns * (side + 8), rows * (side + 42)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, prompt in enumerate(PROMPTS):
        x, y = number % columns * (side + 8), number // columns * (side + 42)
        sheet.paste((226, 229, 235), (x, y, x + side, y + side))
        try:
            rgba = labelled(final_step(model, Wish(prompt)).rgba, model.label)
            picture = PillowImage.fromarray(rgba).resize(
                (side, side), PillowImage.Resampling.LANCZOS
            )
            sheet.paste(picture, (x, y), picture)
        except ModelError as error:
            words = str(error).split()
            lines = [" ".join(words[i : i + 3]) for i in range(0, len(words), 3)]
            pen.multiline_text((x + 8, y + 30), "\n".join(lines), fill=(150, 20, 20), font=font)
        shown = "".join(letter if ord(letter) < 0x2000 else "?" for letter in prompt)
        if shown != prompt:
            shown = prompt.encode("unicode_escape").decode()
        words = "\n".join(textwrap.wrap(shown, 30))
        pen.multiline_text((x + 2, y + side + 5), words, fill="black", font=font)
    sheet.save(path, optimize=True)
    print(f"wrote {path}: {len(PROMPTS)} prompts")


if __name__ == "__main__":
    main()
