"""Bakes assets/stickers from published emoji art and names, and adds them to the manifest.

    npm pack @iconify-json/noto@1.2.9 @iconify-json/fluent-emoji-flat@1.2.6 \\
        emojibase-data@17.0.0 emojilib@4.0.3          # and unpack each into a folder of its name
    python -m overlay.baking.bake_stickers FOLDER

The art is Google's Noto Emoji (Apache-2.0) and Microsoft's Fluent Emoji (MIT); the names and tags
are those of Emojibase and emojilib (both MIT). Nothing here is random: the same packages give the
same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from safetensors.numpy import save_file

from assets.manifest import assets_folder
from assets.manifest import main as manifest
from overlay.named_colour import NEUTRAL, Paint, oklch_from_srgb
from overlay.sticker_picture import draw_svg, sticker_document
from overlay.text_encoder import TextEncoder

PACKAGES = {"noto": "noto", "fluent": "fluent-emoji-flat"}
LICENCES = {
    "noto": ("Apache-2.0", "Noto Emoji (Google), SVG as @iconify-json/noto 1.2.9 carries it"),
    "fluent": (
        "MIT",
        "Fluent Emoji flat (Microsoft), SVG as @iconify-json/fluent-emoji-flat 1.2.6 carries it",
    ),
}
DROPPED_GROUPS = ("component", "flags")
DROPPED_SUBGROUPS = ("keycap", "alphanum", "arrow", "av-symbol", "gender", "transport-sign")
"""Letters and signs: no thing that somebody wants to see."""
NAMES_FROM = ("github", "iamcal", "emojibase", "joypixels", "cldr")
MOST_NAMES, MOST_TAGS = 6, 16
MEASURED_PX = 96
SKIN = (np.deg2rad(62.0), np.deg2rad(98.0))
"""Hues of the yellow skin of people and faces."""


def main() -> None:
    parser = argparse.ArgumentParser(description="bake assets/stickers")
    parser.add_argument("packages", type=Path, help="folder with the unpacked npm packages")
    folder = parser.parse_args().packages
    out = assets_folder() / "stickers"
    out.mkdir(exist_ok=True)
    concepts = read_concepts(folder)
    drawn = {style: read_drawings(folder, package, concepts) for style, package in PACKAGES.items()}
    concepts = [concept for concept in concepts if concept["emoji"] in drawn["noto"]]
    for style, drawings in drawn.items():
        path = out / f"{style}.json.zst"
        text = json.dumps(drawings, ensure_ascii=False, separators=(",", ":"))
        path.write_bytes(zstandard.ZstdCompressor(level=19).compress(text.encode()))
        print(f"{path.name}: {len(drawings)} drawings, {path.stat().st_size} bytes")
        licence, source = LICENCES[style]
        manifest(["--update", str(path), "--licence", licence, "--source", f"{source}; {_MADE_BY}"])
    encoder = TextEncoder()
    names = [", ".join(concept["names"][:3]) for concept in concepts]
    tags = [", ".join(concept["tags"] or concept["names"]) for concept in concepts]
    path = out / "meanings.safetensors"
    save_file(
        {
            "names": _codes([encoder.encode(text) for text in names]),
            "tags": _codes([encoder.encode(text) for text in tags]),
        },
        path,
        {"stickers": json.dumps(concepts, ensure_ascii=False, separators=(",", ":"))},
    )
    print(f"{path.name}: {len(concepts)} stickers, {path.stat().st_size} bytes")
    manifest(
        [
            *("--update", str(path), "--licence", "MIT", "--source"),
            f"names and tags of emojibase-data 17.0.0 and emojilib 4.0.3; {_MADE_BY}",
        ]
    )


_MADE_BY = "python -m overlay.baking.bake_stickers"


def read_concepts(folder: Path) -> list[dict[str, Any]]:
    """Emoji, names, tags and group of everything that is kept, in Unicode's order."""
    base = _one(folder, "emojibase-data") / "en"
    messages = json.loads((base / "messages.json").read_text(encoding="utf-8"))
    groups = {g["order"]: g["key"] for g in messages["groups"]}
    subgroups = {g["order"]: g["key"] for g in messages["subgroups"]}
    codes = {
        kind: json.loads((base / "shortcodes" / f"{kind}.json").read_text(encoding="utf-8"))
        for kind in NAMES_FROM
    }
    keywords = json.loads(
        (_one(folder, "emojilib") / "dist/emoji-en-US.json").read_text(encoding="utf-8")
    )
    concepts: list[dict[str, Any]] = []
    for entry in json.loads((base / "data.json").read_text(encoding="utf-8")):
        group = groups.get(entry.get("group"), "component")
        subgroup = subgroups.get(entry.get("subgroup"), "")
        if group in DROPPED_GROUPS or subgroup in DROPPED_SUBGROUPS:
            continue
        names = [_plain(entry["label"])]
        for kind in NAMES_FROM:
            given = codes[kind].get(entry["hexcode"], [])
            names += [_plain(name) for name in ([given] if isinstance(given, str) else given)]
        # "cat2" is another drawing of what already has that name.
        names = [n for n in dict.fromkeys(names) if n and not n[-1].isdigit()][:MOST_NAMES]
        tags = [*entry.get("tags", []), *keywords.get(entry["emoji"], [])]
        tags = [_plain(tag) for tag in tags]
        tags = [t for t in dict.fromkeys(tags) if len(t) > 1 and t not in names][:MOST_TAGS]
        concepts.append(
            {
                "emoji": entry["emoji"],
                "hexcode": entry["hexcode"],
                "names": names,
                "tags": tags,
                "group": group,
                "subgroup": subgroup,
            }
        )
    return concepts


def _plain(name: str) -> str:
    text = re.sub(r"[_:\u2019'!“”.,]+", " ", name.lower())
    return " ".join(text.split())


def _one(folder: Path, package: str) -> Path:
    named = re.compile(rf"(.*[^-\w]|@?iconify-json-)?{re.escape(package)}(-\d.*)?")
    found = sorted(p for p in folder.iterdir() if p.is_dir() and named.fullmatch(p.name))
    if len(found) != 1:
        raise SystemExit(f"{folder}: expected one folder of {package}, got {found}")
    return found[0]


def read_drawings(
    folder: Path, package: str, concepts: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Emoji -> drawing, of the concepts that a package of Iconify's has."""
    root = _one(folder, package)
    icons = json.loads((root / "icons.json").read_text(encoding="utf-8"))
    name_of = json.loads((root / "chars.json").read_text(encoding="utf-8"))
    drawings: dict[str, dict[str, Any]] = {}
    for concept in concepts:
        code = concept["hexcode"].lower()
        name = name_of.get(code) or name_of.get(code.replace("-fe0f", ""))
        if not name_of:  # this package tells its drawings by their names alone
            slugs = [known.replace(" ", joint) for known in concept["names"] for joint in "-_"]
            slugs += [known.replace(" ", "").replace("-", "") for known in concept["names"]]
            name = next((slug for slug in slugs if slug in icons["icons"]), None)
        if name not in icons["icons"]:
            continue
        icon = icons["icons"][name]
        side = float(icon.get("width", icons["width"]))
        body = _shorter(icon["body"])
        rgba = draw_svg(sticker_document(body, side), (MEASURED_PX, MEASURED_PX))
        covered = np.argwhere(rgba[..., 3] > 24)
        if not len(covered):
            continue
        (top, left), (bottom, right) = covered.min(axis=0), covered.max(axis=0) + 1
        box = np.array([left, top, right, bottom]) / MEASURED_PX
        main = main_paint(rgba, concept["group"] in ("people-body", "smileys-emotion"))
        drawings[concept["emoji"]] = {
            "svg": body,
            "side": side,
            "main": [round(v, 4) for v in (main.lightness, main.chroma, main.hue)],
            "box": [round(float(v), 4) for v in box],
        }
    return drawings


def _shorter(body: str) -> str:
    """Numbers with at most two decimals: a fiftieth of a pixel at 256 pixels."""
    return re.sub(r"(\.\d\d)\d+", r"\1", body)


def main_paint(rgba: npt.NDArray[np.uint8], skin: bool) -> Paint:
    """What covers most of an (H, W, 4) picture; with `skin`, what is left without skin's hues
    where that is a tenth of it."""
    paints = oklch_from_srgb(rgba[rgba[..., 3] > 200][:, :3] / 255.0)
    if not len(paints):
        return Paint(0.5, 0.0, 0.0)
    hues = paints[:, 2] % (2 * np.pi)
    if skin:
        is_skin = (hues > SKIN[0]) & (hues < SKIN[1]) & (paints[:, 1] > 0.08)
        if (~is_skin & (paints[:, 1] > NEUTRAL)).mean() > 0.1:
            paints, hues = paints[~is_skin], hues[~is_skin]
    coloured = paints[:, 1] > NEUTRAL
    if coloured.mean() < 0.4:
        neutral = paints[~coloured]
        return Paint(float(np.median(neutral[:, 0])), 0.0, 0.0)
    paints, hues = paints[coloured], hues[coloured]
    bins = np.histogram(hues, 36, (0.0, 2 * np.pi), weights=paints[:, 1])[0]
    smooth = bins + np.roll(bins, 1) + np.roll(bins, -1)
    peak = (int(smooth.argmax()) + 0.5) * 2 * np.pi / 36
    near = np.abs((hues - peak + np.pi) % (2 * np.pi) - np.pi) < np.deg2rad(30.0)
    chosen = paints[near]
    hue = np.arctan2(np.sin(chosen[:, 2]).mean(), np.cos(chosen[:, 2]).mean())
    return Paint(float(np.median(chosen[:, 0])), float(np.median(chosen[:, 1])), float(hue))


def _codes(vectors: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.int8]:
    """(N, 384) rows of length 1 -> int8, each row scaled to its own largest entry."""
    rows = np.stack(vectors)
    return np.rint(127 * rows / np.abs(rows).max(axis=1, keepdims=True)).astype(np.int8)


if __name__ == "__main__":
    main()
