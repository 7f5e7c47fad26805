// A flat picture in the world: a triangle strip of four corners.
uniform mat4 clip_from_panel;  // panel's unit square, (-0.5, 0.5) both ways
out vec2 v_uv;

void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    v_uv = vec2(corner.x, 1.0 - corner.y);
    gl_Position = clip_from_panel * vec4(corner - 0.5, 0.0, 1.0);
}
