// Shared by the fragment shaders of the mesh. render/shading.py is the same in numpy.
in vec4 v_view;
in vec3 v_normal;
in vec2 v_uv;
in vec3 v_light;
in vec4 v_gloss;
in vec3 v_highlight;

uniform sampler2D surface_map;  // roughness, occlusion, slope du, slope dv; for fibres as in Topology
uniform vec2 slope_scale;       // metres of height a unit of uv, at an encoded slope of 1
uniform vec3 light_frame[12];   // a light: direction, width axis, height axis
uniform vec3 light_colour[4];   // irradiance facing the light; the first is the key
uniform vec3 light_radiance[4];
uniform vec4 material;          // reflectance, gain of highlights, relief, limb darkening

out vec4 colour;

// sRGB's curves as polynomials: within 0.2 of a code value of the exact ones, and no pow().
vec3 linear_from_srgb(vec3 c) {
    vec3 high = 0.00104602 + c * (0.0284091 + c * (0.560346620 + c * (0.526553887 - c * 0.116813168)));
    return mix(high, c * (1.0 / 12.92), lessThanEqual(c, vec3(0.04045)));
}

vec3 srgb_from_linear(vec3 x) {
    vec3 r = sqrt(x);
    vec3 high = r * (1.447968979 + r * (-0.945105432 + r * (0.843115919 - 0.309716603 * r))) - 0.037010478;
    return mix(high, 12.92 * x, lessThanEqual(x, vec3(0.0031308)));
}

// Exact up to 0.6, then a shoulder that reaches 1 at 1.4: highlights roll off softly.
vec3 tone_mapped(vec3 x) {
    vec3 over = clamp(x - 0.6, 0.0, 0.8);
    return min(x, 0.6) + over * (1.0 - 0.625 * over);
}

vec4 picture(vec3 radiance, float alpha) {
    return vec4(srgb_from_linear(tone_mapped(radiance)) * alpha, alpha);
}

vec3 albedo() { return linear_from_srgb(texel_code(v_uv)); }

// Normal bent by the surface map's relief (Mikkelsen 2010, "Bump mapping unparametrized surfaces").
vec3 relief_normal(vec2 slope) {
    vec2 gradient = (slope - 128.0 / 255.0) * slope_scale * material.z;
    vec3 to_eye = v_view.xyz * v_view.w;
    vec3 px = -dFdx(to_eye), py = -dFdy(to_eye);
    vec3 across_y = cross(py, v_normal), across_x = cross(v_normal, px);
    float area = dot(px, across_y);
    vec3 bend = dot(gradient, dFdx(v_uv)) * across_y + dot(gradient, dFdy(v_uv)) * across_x;
    // Seen edge-on there is no area to bend in.
    vec3 bent = v_normal - bend * (area / (area * area + 1e-24));
    // One Newton step to unit length: slopes are small, and a root costs more than all the rest.
    return bent * clamp(1.5 - 0.5 * dot(bent, bent), 0.0, 1.5);
}
