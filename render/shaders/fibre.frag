// Hair and lashes: highlights across the strand, one white and one in the hair's own colour
// (Kajiya and Kay 1989, Scheuermann 2004). The strand runs along the texture's v.
const float WHITE2 = 0.05, TINTED2 = 0.145;  // the lobes' widths squared

// Both lobes of a light over one division: x is white, y is tinted.
vec2 strand(float th, float nh, float q) {
    float a = th - 0.10 * nh, b = th + 0.16 * nh;  // towards the root, towards the tip
    float da = q * WHITE2 + a * a, db = q * TINTED2 + b * b;
    vec2 lobes = q * vec2(WHITE2 * db, TINTED2 * da) / (da * db);
    return lobes * lobes;
}

void main() {
    vec4 surface = texture(surface_map, v_uv);
    if (surface.a < 0.02) discard;
    vec3 v = v_view.xyz, fibre = albedo();
    vec3 to_eye = v * v_view.w;
    vec2 ux = dFdx(v_uv), uy = dFdy(v_uv);
    vec3 along = (dFdx(to_eye) * uy.x - dFdy(to_eye) * ux.x) * sign(ux.x * uy.y - ux.y * uy.x);
    vec3 t = along * inversesqrt(max(dot(along, along), 1e-30));
    float tv = dot(t, v), nv = dot(v_normal, v);
    vec3 key = light_frame[0], rim = light_frame[3];
    vec2 k = strand(dot(t, key) + tv, dot(v_normal, key) + nv, v_gloss.y) * v_gloss.x;
    vec2 r = strand(dot(t, rim) + tv, dot(v_normal, rim) + nv, v_gloss.w) * v_gloss.z;
    vec3 white = light_colour[0] * k.x + light_colour[1] * r.x;
    vec3 tinted = light_colour[0] * k.y + light_colour[1] * r.y;
    vec3 highlight = (material.x * white + 0.7 * tinted * fibre) * surface.g;
    colour = picture(fibre * v_light + highlight, surface.a);
}
