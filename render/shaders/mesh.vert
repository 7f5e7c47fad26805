// World vertices to clip space, lit: all light that varies slowly is computed here, because a
// software OpenGL runs fragments for many times more lanes than there are vertices.
layout(location = 0) in vec3 position;  // world, metres
layout(location = 1) in vec3 normal;    // world
layout(location = 2) in vec2 uv;        // (0, 0) is the texture's top-left

uniform mat4 clip_from_world;
uniform vec3 eye;              // world, metres
uniform mat4 surround[3];      // irradiance of all but the key: h^T M h, h = (normal, 1)
uniform vec3 light_frame[12];  // a light: direction, width axis, height axis
uniform vec3 light_colour[4];  // irradiance facing the light; the first is the key
uniform vec3 wrap;             // how far light creeps past the terminator, a channel
uniform vec4 material;         // reflectance, gain of highlights, relief, limb darkening
#ifdef SHADOW
uniform mat4 shadow_from_world;
uniform vec2 shadow_blur;  // radius of the penumbra, in the map's width and height
uniform sampler2DShadow shadow_map;
#endif
#ifdef SKIN
uniform sampler2D surface_map;
#endif

out vec4 v_view;  // unit vector to the eye, distance in metres
out vec3 v_normal;
out vec2 v_uv;
out vec3 v_light;      // diffuse light
out vec4 v_gloss;      // strength of the key's highlight, its half vector's length squared; the rim's
out vec3 v_highlight;  // highlights that are too broad for relief to matter

// The fraction of the soft key light that reaches a point.
float key_visibility(float facing) {
#ifdef SHADOW
    const vec2 taps[8] = vec2[](
        vec2(0.25, 0.1), vec2(-0.1, 0.3), vec2(-0.3, -0.1), vec2(0.1, -0.25),
        vec2(0.85, -0.45), vec2(0.4, 0.85), vec2(-0.85, 0.4), vec2(-0.45, -0.85));
    vec3 at = (shadow_from_world * vec4(position, 1.0)).xyz;
    // A tap beside the point compares with the depth that the point's own plane has there, or a
    // slanted surface would shade itself.
    mat3 axes = mat3(shadow_from_world);
    vec3 scale2 = axes[0] * axes[0] + axes[1] * axes[1] + axes[2] * axes[2];
    vec2 slope = (axes * normal).xy / scale2.xy * (sqrt(scale2.z) / max(facing, 0.25));
    float seen = 0.0;
    for (int i = 0; i < 8; i++) {
        vec2 tap = taps[i] * shadow_blur;
        seen += textureLod(shadow_map, at + vec3(tap, dot(slope, tap)), 0.0);
    }
    // Where the surface turns away, its own shading takes over from the map, which is coarse there.
    return mix(1.0, seen * 0.125, clamp(4.0 * facing, 0.0, 1.0));
#else
    return 1.0;
#endif
}

float half_squared(vec3 light, vec3 v) { return 2.0 + 2.0 * dot(light, v) + 1e-4; }

void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    vec3 v = eye - position;
    float away = length(v);
    v /= max(away, 1e-6);
    v_view = vec4(v, away);
    v_normal = normal;
    v_uv = uv;

    vec4 h = vec4(normal, 1.0);
    vec3 around = max(
        vec3(dot(h, surround[0] * h), dot(h, surround[1] * h), dot(h, surround[2] * h)), 0.0);
    float facing = dot(normal, light_frame[0]);
    float visible = key_visibility(facing);
    vec3 key = clamp((facing + wrap) / (1.0 + wrap), 0.0, 1.0);
    // A penumbra on skin is reddish, because light creeps into it.
    vec3 seen = visible + (visible - visible * visible) * wrap;
    v_light = around + light_colour[0] * key * seen;

    float q0 = half_squared(light_frame[0], v), q1 = half_squared(light_frame[3], v);
    v_gloss = vec4(visible, q0, 1.0, q1);
    v_highlight = vec3(0.0);
#ifdef SKIN
    vec4 surface = textureLod(surface_map, uv, 0.0);
    float alpha = max(surface.r * surface.r, 0.02), nv = dot(normal, v);
    for (int i = 1; i < 3; i++) {  // the fourth light is too dim and broad to be seen here
        float nl = dot(normal, light_frame[3 * i]), q = half_squared(light_frame[3 * i], v);
        float strength = fresnel(material.x, 0.5 * sqrt(q)) * max(nl, 0.0);
        v_highlight += light_colour[i] * (ggx(nl + nv, q, alpha) * strength);
    }
    // Such light comes from behind: only what is seen at a grazing angle is surely not in shade.
    float grazing = 1.0 - clamp(nv, 0.0, 1.0);
    v_highlight *= surface.g * material.y * grazing * grazing;
    v_gloss.x *= fresnel(material.x, 0.5 * sqrt(q0)) * material.y;
#endif
#ifdef FIBRE
    v_gloss.x *= clamp((facing + 0.3) / 1.3, 0.0, 1.0) * material.y;
    v_gloss.z *= clamp((dot(normal, light_frame[3]) + 0.3) / 1.3, 0.0, 1.0) * material.y;
#endif
#ifdef CLOTH
    float graze = 1.0 - clamp(dot(normal, v), 0.0, 1.0);
    v_highlight = v_light * (4.0 * material.x * material.y * graze * graze);
#endif
}
