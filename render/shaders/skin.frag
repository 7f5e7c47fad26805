// Skin: the light that crept under the surface, and an oily highlight in two lobes with relief.
void main() {
    vec4 surface = texture(surface_map, v_uv);
    vec3 n = relief_normal(surface.zw);
    float nl = dot(n, light_frame[0]), nh = nl + dot(n, v_view.xyz), q = v_gloss.y;
    // 85 % of a GGX lobe and 15 % of one with 0.4 of its alpha, over one division.
    float a2 = max(surface.r * surface.r * surface.r * surface.r, 0.0004), b2 = 0.16 * a2;
    float da = nh * nh * (a2 - 1.0) + q, db = nh * nh * (b2 - 1.0) + q;
    float both = da * db;
    float lobes = q * (0.85 * a2 * db * db + 0.15 * b2 * da * da) / (both * both);
    float strength = lobes * max(nl, 0.0) * surface.g * v_gloss.x;
    colour = picture(albedo() * v_light + light_colour[0] * strength + v_highlight, 1.0);
}
