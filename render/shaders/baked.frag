// Shown as it is: no lights, no tone curve.
in vec2 v_uv;
uniform sampler2D surface_map;  // as in Topology; alpha is opacity
out vec4 colour;

void main() {
    float alpha = texture(surface_map, v_uv).a;
    if (alpha < 0.02) discard;
    colour = vec4(texel_code(v_uv) * alpha, alpha);
}
