"""Meshes, panels and a studio to pictures, by OpenGL or by a slow numpy twin."""

# First, because it chooses PyOpenGL's platform, which PyOpenGL reads when it is first imported.
from render import gl_context as gl_context
