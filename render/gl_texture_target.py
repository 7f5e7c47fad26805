"""A framebuffer around textures that somebody else owns: a headset's images, for one copy each."""

from __future__ import annotations

from OpenGL import GL

from render.gl_objects import Framebuffer, GlObject


class TextureTarget(GlObject):
    """Copies drawn pictures into textures. It holds none of them between two copies: their owner
    may delete one at any time, and GL gives the same name to another."""

    def __init__(self) -> None:
        super().__init__(GL.glGenFramebuffers(1))

    def copy_from(
        self, picture: Framebuffer, size: tuple[int, int], colour: int, depth: int | None
    ) -> None:
        """Copy `picture`, one sample a pixel, into level 0 of the 2D textures `colour` (RGBA8 or
        SRGB8_ALPHA8: the bytes stay the same) and `depth` (DEPTH_COMPONENT32F) of `size`.

        A picture of another size is scaled: colour smoothly, depth to the nearest. Raises
        RuntimeError when this OpenGL cannot draw into them.
        """
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.name)
        wanted = [(colour, GL.GL_COLOR_ATTACHMENT0, GL.GL_COLOR_BUFFER_BIT)]
        if depth is not None:
            wanted.append((depth, GL.GL_DEPTH_ATTACHMENT, GL.GL_DEPTH_BUFFER_BIT))
        for texture, attachment, _ in wanted:
            self._attach(attachment, texture)
        try:
            status = GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER)
            if status != GL.GL_FRAMEBUFFER_COMPLETE:
                raise RuntimeError(
                    f"TextureTarget: this OpenGL cannot draw into the textures (status {status})"
                )
            # Bytes are copied as they are: they are sRGB-encoded already.
            GL.glDisable(GL.GL_FRAMEBUFFER_SRGB)
            GL.glDisable(GL.GL_SCISSOR_TEST)
            picture.bind(GL.GL_READ_FRAMEBUFFER)
            boxes = (0, 0, *picture.size, 0, 0, *size)
            for _, attachment, mask in wanted:
                smooth = attachment == GL.GL_COLOR_ATTACHMENT0 and picture.size != size
                GL.glBlitFramebuffer(*boxes, mask, GL.GL_LINEAR if smooth else GL.GL_NEAREST)
        finally:
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self.name)
            for _, attachment, _ in wanted:
                self._attach(attachment, 0)
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)

    @staticmethod
    def _attach(attachment: int, texture: int) -> None:
        GL.glFramebufferTexture2D(
            *(GL.GL_FRAMEBUFFER, attachment, GL.GL_TEXTURE_2D, texture, 0),
        )

    def _delete(self) -> None:
        GL.glDeleteFramebuffers(1, [self.name])
