"""`visavis export`: an avatar or a recorded session as files that other programs read."""

from __future__ import annotations

from dataclasses import dataclass

from apps.export_options import SESSION, ExportOptions
from apps.usage import FailedError


@dataclass(frozen=True, slots=True)
class Export(ExportOptions):
    """Write an avatar (glTF with 52 blend shapes and texture, OBJ, PLY, ONNX) or a recorded session
    (MP4 with sound, Rerun, animated glTF, CSV, Parquet, BVH) for other programs."""

    def run(self) -> int:
        """0 when it is written."""
        is_session = self.what.lower().endswith(SESSION)
        ending = self.out.suffix.lower()
        self.check(is_session, ending)
        from apps.video_writer import check_writable

        check_writable(self.out)
        try:
            if is_session:
                from apps.session_export import export_session

                written, said = export_session(self)
            elif ending == ".onnx":
                from apps.avatar_export import write_decoder

                written, said = (self.out,), write_decoder(self.what, self.out, self.half)
            else:
                from apps.avatar_export import write_head

                written, said = (self.out,), write_head(self.what, self.out, self.texture)
        except ImportError as error:
            raise FailedError(str(error)) from error
        except OSError as error:
            if type(error).__module__ != "builtins":
                raise  # ours: it says more
            why = error.strerror or error
            raise FailedError(f"{self.out}: cannot be written ({why})") from error
        sizes = [f"{path} ({path.stat().st_size / 2**20:.1f} MiB)" for path in written]
        print(f"wrote {' and '.join(sizes)}: {said}")
        return 0
