// One triangle over the whole picture, at the far plane; the ray of each corner.
uniform vec3 ray_origin;  // world ray at the picture's lower-left corner, and per unit of clip x, y
uniform vec3 ray_across;
uniform vec3 ray_up;
out vec3 v_ray;

void main() {
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
    v_ray = ray_origin + 2.0 * (corner.x * ray_across + corner.y * ray_up);
    gl_Position = vec4(corner * 2.0 - 1.0, 1.0, 1.0);
}
