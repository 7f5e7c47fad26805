// The colour of the texture at a place of the atlas, as sRGB code values 0..1. The same text serves
// OpenGL 4.1 and WebGL2 (render/shader_text.py). streams/texture_basis.py is the slow twin.
//
// Without BASIS the texture is a picture. With BASIS it is a mean and a sum of planes, weighted by
// coefficients that are interpolated between the nodes of a coarse grid: it is taken here, for
// visible pixels only.
//   albedo_map  the picture or the mean, sRGB-encoded
//   planes_map  RGBA8_SNORM array, one layer a plane; alpha is not used
//   nodes_map   RGBA16F array, four planes' coefficients a layer, times the planes' scale
//   gain        rgb: exposure, a factor on the sum; a: 1 when the planes change the logarithm of
//               linear light instead of code values
//   planes_used planes near the point that the eye looks at, and far from it; multiples of 4
//   fovea       that point in pixels from the lower left, and the radius of "near"
uniform sampler2D albedo_map;
#ifdef BASIS
uniform sampler2DArray planes_map;
uniform sampler2DArray nodes_map;
uniform vec4 gain;
uniform vec2 planes_used;
uniform vec3 fovea;

vec3 texel_code(vec2 uv) {
    vec3 mean = texture(albedo_map, uv).rgb, sum = vec3(0.0);
    bool near = distance(gl_FragCoord.xy, fovea.xy) <= fovea.z;
    int layers = int(near ? planes_used.x : planes_used.y) / 4;
    for (int i = 0; i < layers; i++) {
        vec4 c = textureLod(nodes_map, vec3(uv, float(i)), 0.0);
        float first = float(4 * i);
        sum += c.x * textureLod(planes_map, vec3(uv, first), 0.0).rgb;
        sum += c.y * textureLod(planes_map, vec3(uv, first + 1.0), 0.0).rgb;
        sum += c.z * textureLod(planes_map, vec3(uv, first + 2.0), 0.0).rgb;
        sum += c.w * textureLod(planes_map, vec3(uv, first + 3.0), 0.0).rgb;
    }
    // On sRGB's power segment linear light goes as (code + 0.055)^2.4.
    vec3 shown = gain.a > 0.5 ? (mean + 0.055) * exp(sum / 2.4) - 0.055 : mean + sum;
    return clamp(shown * gain.rgb, 0.0, 1.0);
}
#else
vec3 texel_code(vec2 uv) { return texture(albedo_map, uv).rgb; }
#endif
