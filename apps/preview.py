"""`visavis preview`: the desktop app, in a window or written to a file."""

from __future__ import annotations

from dataclasses import dataclass

from apps.preview_options import PreviewOptions


@dataclass(frozen=True, slots=True)
class Preview(PreviewOptions):
    """Draw the avatar of whoever a source shows: in a window, as a video with --out, or in a
    headset with --openxr."""

    def run(self) -> int:
        """0 when all was drawn; raises what went wrong otherwise."""
        self.check()
        if self.debug_3d:
            from apps.debug_view import show_debug

            print(show_debug(self))
        elif self.room is not None:
            from apps.room_window import meet

            meet(self)
        elif self.openxr:
            from apps.openxr_preview import show_openxr

            print(show_openxr(self))
        elif self.out is not None:
            from apps.preview_file import write_preview

            print(write_preview(self, self.out))
        else:
            from apps.preview_window import show_preview

            show_preview(self)
        return 0
