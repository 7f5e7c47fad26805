"""`visavis demo`: the whole pipeline on the clip that is shipped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from apps.display import has_display
from apps.preview import Preview

CLIP = "clips/demo"
GREETING = "Hello! This face is 80 numbers a frame."


@dataclass(frozen=True, slots=True)
class Demo:
    """Run everything on the clip that is shipped: in a window, or as demo.mp4 without a display."""

    out: Path | None = None
    """Write this file, even where a window could be opened."""
    seconds: float | None = None
    """Stop after so many seconds; a window otherwise plays on until Esc, a file to the end."""

    def run(self) -> int:
        """0 when all was drawn."""
        from assets.manifest import asset_path

        clip = asset_path(CLIP)
        preview = Preview(source=f"video:{clip}", out=self.out, seconds=self.seconds, text=GREETING)
        preview.check()
        print(
            "Visavis demo: a synthetic person's video in; face and hands tracked; "
            "an avatar's mesh and texture decoded from a code; drawn with OpenGL, a panel on it."
        )
        if self.out is None and not has_display():
            preview = replace(preview, out=Path("demo.mp4"))
            print(f"There is no display, so this goes into {Path('demo.mp4').absolute()}")
        elif self.out is None:
            from apps.preview_window import show_preview
            from apps.window_hud import NoWindowError

            try:
                show_preview(preview, loop=True)
                return 0
            except NoWindowError as error:
                preview = replace(preview, out=Path("demo.mp4"))
                print(f"{error}; so this goes into {Path('demo.mp4').absolute()}")
        return preview.run()
