// Eyes, teeth and tongue: a wet film that mirrors the soft boxes.
float edge(float x, float sharpness) {
    return clamp((1.0 - abs(x)) * sharpness + 0.5, 0.0, 1.0);
}

void main() {
    vec4 surface = texture(surface_map, v_uv);
    vec3 n = relief_normal(surface.zw);
    vec3 v = v_view.xyz;
    float nv = clamp(dot(n, v), 0.0, 1.0);
    float rim = (1.0 - nv) * (1.0 - nv);
    vec3 shown = albedo() * v_light * (1.0 - material.w * rim);

    vec3 r = 2.0 * dot(n, v) * n - v;
    // Roughness blurs the boxes' edges and spreads their light.
    float spread = 4.0 * surface.r * surface.r;
    float sharpness = 1.0 / (0.14 + spread);
    vec3 mirrored = vec3(0.0);
    for (int i = 0; i < 3; i++) {  // the fourth light is too dim and broad to be seen here
        float towards = dot(r, light_frame[3 * i]);
        vec2 at = vec2(dot(r, light_frame[3 * i + 1]), dot(r, light_frame[3 * i + 2]));
        at /= max(towards, 1e-3);
        float box = edge(at.x, sharpness) * edge(at.y, sharpness) * step(0.0, towards);
        mirrored += light_radiance[i] * (box * (i == 0 ? v_gloss.x : 1.0));
    }
    mirrored *= fresnel(material.x, nv) * surface.g * material.y / (1.0 + spread);
    colour = picture(shown + mirrored, 1.0);
}
