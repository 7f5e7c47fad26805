"""One page about an enrolment: figures, and pictures of the person beside the avatar."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from apps.likeness_evaluation import Evaluation
from apps.tracked_parts import write_whole
from avatar.enrolment.coverage import SHOWINGS, Coverage

UInt8 = npt.NDArray[np.uint8]

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
 body {{ font: 15px/1.45 system-ui, sans-serif; }}
 body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
 table {{ border-collapse: collapse; margin: 1rem 0; }}
 td, th {{ padding: .25rem .8rem; border-bottom: 1px solid #ccc; text-align: right; }}
 td:first-child, th:first-child {{ text-align: left; }}
 img {{ width: 100%; display: block; margin: .4rem 0; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<table><tr><th>held-out frames</th><th>PSNR dB</th><th>SSIM</th><th>sharpness</th>
<th>mouth dB</th><th>eyes dB</th></tr>
{rows}</table>
<p>From left to right: the video, the avatar encoded from the same picture, the avatar driven by the
tracked face alone. None of these moments was learned from.</p>
{pictures}
<h2>What the video shows</h2>
<p>{covered}</p>
<table><tr><th>asked for</th><th>seen</th><th>wanted</th><th></th></tr>
{coverage}</table>
</html>
"""


@dataclass(frozen=True, slots=True)
class ReportText:
    """What is written about an enrolment beside its figures."""

    title: str
    summary: str
    coverage: Coverage


def write_report(path: Path, text: ReportText, ways: Mapping[str, Evaluation]) -> None:
    """An HTML page that needs no other file, readable by its owner alone. `ways`: "encoded" and
    "driven" with their pictures. Raises OSError when the disk is full; an older page stays."""
    rows = "\n".join(
        f"<tr><td>{html.escape(name)} ({w.figures.frames})</td><td>{w.figures.psnr_db:.2f}</td>"
        f"<td>{w.figures.ssim:.3f}</td><td>{w.figures.sharpness:.2f}</td>"
        f"<td>{w.figures.mouth_db:.2f}</td><td>{w.figures.eyes_db:.2f}</td></tr>"
        for name, w in ways.items()
    )
    first, second = ways["encoded"].pictures, ways["driven"].pictures
    pictures = "\n".join(
        f'<img alt="video, encoded, driven" src="data:image/jpeg;base64,{_jpeg(strip)}">'
        for strip in (
            np.concatenate([source, encoded, driven], axis=1)
            for (source, encoded), (_, driven) in zip(first, second, strict=False)
        )
    )
    page = _PAGE.format(
        title=html.escape(text.title), summary=html.escape(text.summary), rows=rows,
        pictures=pictures, covered=html.escape(text.coverage.line()),
        coverage=_coverage_rows(text.coverage),
    )  # fmt: skip
    write_whole(path, page.encode())


def _coverage_rows(coverage: Coverage) -> str:
    return "\n".join(
        f"<tr><td>{html.escape(one.text)}</td><td>{coverage.count(one.key):.3g} {one.unit}</td>"
        f"<td>{one.wanted:.3g} {one.unit}</td>"
        f"<td>{'' if coverage.share(one.key) >= 1.0 else 'not enough'}</td></tr>"
        for one in SHOWINGS
    )


def _jpeg(rgb: UInt8) -> str:
    done, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise RuntimeError("enrolment report: a picture could not be compressed")
    return base64.b64encode(data.tobytes()).decode()
