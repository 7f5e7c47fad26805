"""OpenGL objects with an owner: each is released once by hand, and counted while it lives.

There is no finaliser on purpose: a GL name must be deleted while its context is current, which
the garbage collector cannot know. Tests assert that `live_objects()` is empty at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from OpenGL import GL

from render.shader_text import DESKTOP, shader_text

_LIVE: Counter[str] = Counter()


def live_objects() -> dict[str, int]:
    """How many GL objects of each type were made and not yet released, types with none left out."""
    return {name: count for name, count in _LIVE.items() if count}


class GlObject:
    """Base of all: holds one GL name until `release()`."""

    def __init__(self, name: Any) -> None:
        self.name = int(name)
        _LIVE[type(self).__name__] += 1

    def _delete(self) -> None:
        raise NotImplementedError

    def release(self) -> None:
        """Delete the GL object; its context must be current. A second call does nothing."""
        if self.name:
            self._delete()
            self.name = 0
            _LIVE[type(self).__name__] -= 1


class Buffer(GlObject):
    """Vertex or index data."""

    def __init__(self, target: int) -> None:
        super().__init__(GL.glGenBuffers(1))
        self.target = target

    def write(self, data: npt.NDArray[np.generic], usage: int = GL.GL_STREAM_DRAW) -> None:
        """Replace the whole content (a new store each time: the driver never waits for a draw)."""
        GL.glBindBuffer(self.target, self.name)
        GL.glBufferData(self.target, data.nbytes, np.ascontiguousarray(data), usage)

    def _delete(self) -> None:
        GL.glDeleteBuffers(1, [self.name])


class VertexArray(GlObject):
    """Which buffer feeds which shader input."""

    def __init__(self) -> None:
        super().__init__(GL.glGenVertexArrays(1))

    def bind(self) -> None:
        GL.glBindVertexArray(self.name)

    def attach_floats(self, location: int, buffer: Buffer, width: int) -> None:
        """Feed `width` float32 a vertex from the tightly packed `buffer` to input `location`."""
        self.bind()
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, buffer.name)
        GL.glEnableVertexAttribArray(location)
        GL.glVertexAttribPointer(location, width, GL.GL_FLOAT, False, 0, None)

    def attach_indices(self, buffer: Buffer) -> None:
        self.bind()
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, buffer.name)

    def _delete(self) -> None:
        GL.glDeleteVertexArrays(1, [self.name])


@dataclass(frozen=True, slots=True)
class TextureFormat:
    """How texels are stored (GL enumerants) and sampled."""

    internal: int = GL.GL_RGBA8
    external: int = GL.GL_RGBA
    kind: int = GL.GL_UNSIGNED_BYTE
    levels: int = 1
    """Mip levels; the caller writes them, or lets GL make them with `generate_mipmaps`."""
    min_filter: int = GL.GL_LINEAR
    wrap: int = GL.GL_CLAMP_TO_EDGE


class Texture(GlObject):
    """A two-dimensional texture of a fixed size."""

    def __init__(self, size: tuple[int, int], form: TextureFormat = TextureFormat()) -> None:
        super().__init__(GL.glGenTextures(1))
        self.size = size
        self.form = form
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.name)
        for level in range(form.levels):
            # glTexStorage2D is not in 4.1: every level is made by hand.
            width, height = max(1, size[0] >> level), max(1, size[1] >> level)
            GL.glTexImage2D(
                *(GL.GL_TEXTURE_2D, level, form.internal, width, height, 0),
                *(form.external, form.kind, None),
            )
        for name, value in (
            (GL.GL_TEXTURE_MAX_LEVEL, form.levels - 1),
            (GL.GL_TEXTURE_MIN_FILTER, form.min_filter),
            (GL.GL_TEXTURE_MAG_FILTER, _magnification(form.min_filter)),
            (GL.GL_TEXTURE_WRAP_S, form.wrap),
            (GL.GL_TEXTURE_WRAP_T, form.wrap),
        ):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)

    def write(self, texels: npt.NDArray[np.generic], level: int = 0) -> None:
        """Replace a level. `texels`: (H, W, channels), row 0 is texture coordinate v = 0."""
        width, height = max(1, self.size[0] >> level), max(1, self.size[1] >> level)
        if texels.shape[:2] != (height, width):
            raise ValueError(
                f"Texture.write: expected {(height, width)} texels at level {level}, "
                f"got {texels.shape[:2]}"
            )
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.name)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glTexSubImage2D(
            *(GL.GL_TEXTURE_2D, level, 0, 0, width, height),
            *(self.form.external, self.form.kind, np.ascontiguousarray(texels)),
        )

    def generate_mipmaps(self) -> None:
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.name)
        GL.glGenerateMipmap(GL.GL_TEXTURE_2D)

    def bind(self, unit: int) -> None:
        GL.glActiveTexture(int(GL.GL_TEXTURE0) + unit)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.name)

    def _delete(self) -> None:
        GL.glDeleteTextures(1, [self.name])


class TextureArray(GlObject):
    """Layers of equal size, filtered within a layer."""

    def __init__(self, size: tuple[int, int, int], internal: int, external: int, kind: int) -> None:
        """`size`: width, height, layers; the rest as in TextureFormat."""
        super().__init__(GL.glGenTextures(1))
        self.size = size
        self._external, self._kind = external, kind
        GL.glBindTexture(GL.GL_TEXTURE_2D_ARRAY, self.name)
        GL.glTexImage3D(
            *(GL.GL_TEXTURE_2D_ARRAY, 0, internal, *size, 0),
            *(external, kind, None),
        )
        for name, value in (
            (GL.GL_TEXTURE_MAX_LEVEL, 0),
            (GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR),
            (GL.GL_TEXTURE_MAG_FILTER, GL.GL_LINEAR),
            (GL.GL_TEXTURE_WRAP_S, GL.GL_CLAMP_TO_EDGE),
            (GL.GL_TEXTURE_WRAP_T, GL.GL_CLAMP_TO_EDGE),
        ):
            GL.glTexParameteri(GL.GL_TEXTURE_2D_ARRAY, name, value)

    def write(self, texels: npt.NDArray[np.generic]) -> None:
        """Replace everything. `texels`: (layers, H, W, channels), row 0 is v = 0."""
        width, height, layers = self.size
        if texels.shape[:3] != (layers, height, width):
            raise ValueError(
                f"TextureArray.write: expected {(layers, height, width)} texels, "
                f"got {texels.shape[:3]}"
            )
        GL.glBindTexture(GL.GL_TEXTURE_2D_ARRAY, self.name)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glTexSubImage3D(
            *(GL.GL_TEXTURE_2D_ARRAY, 0, 0, 0, 0, *self.size),
            *(self._external, self._kind, np.ascontiguousarray(texels)),
        )

    def bind(self, unit: int) -> None:
        GL.glActiveTexture(int(GL.GL_TEXTURE0) + unit)
        GL.glBindTexture(GL.GL_TEXTURE_2D_ARRAY, self.name)

    def _delete(self) -> None:
        GL.glDeleteTextures(1, [self.name])


class Renderbuffer(GlObject):
    """A surface that is drawn to and never sampled."""

    def __init__(self, size: tuple[int, int], internal: int, samples: int) -> None:
        super().__init__(GL.glGenRenderbuffers(1))
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, self.name)
        GL.glRenderbufferStorageMultisample(
            GL.GL_RENDERBUFFER, samples if samples > 1 else 0, internal, *size
        )

    def _delete(self) -> None:
        GL.glDeleteRenderbuffers(1, [self.name])


class Framebuffer(GlObject):
    """A drawing target that owns its surfaces: sRGB-encoded RGBA8 and, where wanted, depth."""

    def __init__(
        self, size: tuple[int, int], *, samples: int = 1, colour: bool = True, depth: bool = True
    ) -> None:
        super().__init__(GL.glGenFramebuffers(1))
        self.size = size
        self._surfaces: list[Renderbuffer] = []
        self.bind()
        wanted = (
            (colour, GL.GL_RGBA8, GL.GL_COLOR_ATTACHMENT0),
            (depth, GL.GL_DEPTH_COMPONENT32F, GL.GL_DEPTH_ATTACHMENT),
        )
        for use, internal, attachment in wanted:
            if use:
                surface = Renderbuffer(size, internal, samples)
                self._surfaces.append(surface)
                GL.glFramebufferRenderbuffer(
                    GL.GL_FRAMEBUFFER, attachment, GL.GL_RENDERBUFFER, surface.name
                )
        self._require_complete()

    def bind(self, target: int = GL.GL_FRAMEBUFFER) -> None:
        GL.glBindFramebuffer(target, self.name)

    def copy_to(self, other: Framebuffer, mask: int) -> None:
        """Copy (and resolve, when this one has more samples) to a target of the same size."""
        self.bind(GL.GL_READ_FRAMEBUFFER)
        other.bind(GL.GL_DRAW_FRAMEBUFFER)
        box = (0, 0, *self.size)
        GL.glBlitFramebuffer(*box, *box, mask, GL.GL_NEAREST)

    def _require_complete(self) -> None:
        status = GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER)
        if status != GL.GL_FRAMEBUFFER_COMPLETE:
            self.release()
            raise RuntimeError(
                f"Framebuffer: this OpenGL cannot draw to {self.size[0]}x{self.size[1]} pixels "
                f"(status {status}); ask for a smaller size"
            )

    def _delete(self) -> None:
        GL.glDeleteFramebuffers(1, [self.name])
        for surface in self._surfaces:
            surface.release()


class DepthTarget(GlObject):
    """A framebuffer with a depth texture only: what a light sees."""

    def __init__(self, size: int) -> None:
        super().__init__(GL.glGenFramebuffers(1))
        form = TextureFormat(
            GL.GL_DEPTH_COMPONENT16, GL.GL_DEPTH_COMPONENT, GL.GL_UNSIGNED_SHORT, 1
        )
        self.texture = Texture((size, size), form)
        for name, value in (
            (GL.GL_TEXTURE_COMPARE_MODE, GL.GL_COMPARE_REF_TO_TEXTURE),
            (GL.GL_TEXTURE_COMPARE_FUNC, GL.GL_LEQUAL),
        ):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)
        self.bind()
        GL.glFramebufferTexture2D(
            *(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, GL.GL_TEXTURE_2D),
            *(self.texture.name, 0),
        )
        GL.glDrawBuffer(GL.GL_NONE)
        GL.glReadBuffer(GL.GL_NONE)

    def bind(self) -> None:
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.name)

    def _delete(self) -> None:
        GL.glDeleteFramebuffers(1, [self.name])
        self.texture.release()


class Program(GlObject):
    """A vertex and a fragment shader, linked, from the files in render/shaders."""

    def __init__(
        self, vertex: Sequence[str], fragment: Sequence[str], defines: Sequence[str] = ()
    ) -> None:
        super().__init__(GL.glCreateProgram() or 0)
        shaders: list[int] = []
        try:
            for stage, names in ((GL.GL_VERTEX_SHADER, vertex), (GL.GL_FRAGMENT_SHADER, fragment)):
                shaders.append(_compile(stage, names, defines))
                GL.glAttachShader(self.name, shaders[-1])
            GL.glLinkProgram(self.name)
            if not GL.glGetProgramiv(self.name, GL.GL_LINK_STATUS):
                log = _log_text(GL.glGetProgramInfoLog(self.name))
                raise RuntimeError(f"Program: {vertex} + {fragment} do not link: {log}")
        except RuntimeError:
            self.release()
            raise
        finally:
            for shader in shaders:
                GL.glDeleteShader(shader)
        self._locations: dict[str, int] = {}

    def use(self) -> None:
        GL.glUseProgram(self.name)

    def set(self, values: Mapping[str, float | int | npt.NDArray[np.float32]]) -> None:
        """Set uniforms of the program in use: int, float, and arrays of float32 vectors and mat4.

        A name that the shader does not use is ignored. Matrices are row-major.
        """
        for name, value in values.items():
            where = self._locations.get(name)
            if where is None:
                where = self._locations[name] = GL.glGetUniformLocation(self.name, name)
            if where < 0:
                continue
            if isinstance(value, int):
                GL.glUniform1i(where, value)
            elif isinstance(value, float):
                GL.glUniform1f(where, value)
            elif value.shape[-2:] == (4, 4):
                GL.glUniformMatrix4fv(where, value.size // 16, True, value)
            elif value.shape[-1] == 4:
                GL.glUniform4fv(where, value.size // 4, value)
            elif value.shape[-1] == 3:
                GL.glUniform3fv(where, value.size // 3, value)
            elif value.shape[-1] == 2:
                GL.glUniform2fv(where, value.size // 2, value)
            else:
                raise ValueError(f"Program.set: no uniform type for {name} of shape {value.shape}")

    def _delete(self) -> None:
        GL.glDeleteProgram(self.name)


class Query(GlObject):
    """Counts something between `begin` and `end`, for example samples drawn."""

    def __init__(self, target: int = GL.GL_SAMPLES_PASSED) -> None:
        super().__init__(int(np.ravel(GL.glGenQueries(1))[0]))
        self.target = target

    def begin(self) -> None:
        GL.glBeginQuery(self.target, self.name)

    def end(self) -> None:
        GL.glEndQuery(self.target)

    def result(self) -> int:
        """Waits for the drawing before `end` to finish."""
        return int(GL.glGetQueryObjectuiv(self.name, GL.GL_QUERY_RESULT))

    def _delete(self) -> None:
        GL.glDeleteQueries(1, [self.name])


def _magnification(min_filter: int) -> int:
    return GL.GL_NEAREST if min_filter == GL.GL_NEAREST else GL.GL_LINEAR


def _compile(stage: int, names: Sequence[str], defines: Sequence[str]) -> int:
    """Compile the files one after the other as one shader."""
    shader = int(GL.glCreateShader(stage) or 0)
    GL.glShaderSource(shader, shader_text(names, defines, DESKTOP))
    GL.glCompileShader(shader)
    if not GL.glGetShaderiv(shader, GL.GL_COMPILE_STATUS):
        log = _log_text(GL.glGetShaderInfoLog(shader))
        GL.glDeleteShader(shader)
        raise RuntimeError(f"Program: {' + '.join(names)} does not compile: {log}")
    return shader


def _log_text(log: bytes | str) -> str:
    return log.decode(errors="replace") if isinstance(log, bytes) else log
