// Shown as it is: no lights, no tone curve.
in vec3 v_view;
in vec3 v_normal;
in vec2 v_uv;
uniform sampler2D surface_map;  // as in Topology; alpha is opacity
uniform vec4 material;          // w: below this cosine a soft outline fades, 0 = a hard one
out vec4 colour;

void main() {
    float alpha = texture(surface_map, v_uv).a;
    if (material.w > 0.0) alpha *= smoothstep(0.0, material.w, dot(v_normal, v_view));
    if (alpha < 0.02) discard;
    colour = vec4(texel_code(v_uv) * alpha, alpha);
}
