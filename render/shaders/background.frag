// A lit studio wall: bright behind the subject, darker outwards, dithered against banding.
in vec3 v_ray;
uniform vec3 wall_bright;  // linear RGB
uniform vec3 wall_dark;
uniform float cell;  // drawn pixels a shown pixel, each way: noise must survive their averaging
out vec4 colour;

void main() {
    vec3 d = normalize(v_ray);
    float glow = clamp(dot(d, vec3(0.0, 0.0624, -0.9981)), 0.0, 1.0);
    float away = 1.0 - glow * glow;  // sine squared of the angle from the wall's lit spot
    float share = 1.0 / (1.0 + 7.0 * away);
    vec3 wall = mix(wall_dark, wall_bright, share) * (1.0 + 0.22 * d.y);
    vec3 code = mix(1.055 * pow(max(wall, 1e-6), vec3(1.0 / 2.4)) - 0.055, 12.92 * wall,
                    lessThanEqual(wall, vec3(0.0031308)));
    // Interleaved gradient noise (Jimenez 2014), half a code value either way.
    float noise = fract(52.9829189 * fract(dot(floor(gl_FragCoord.xy / cell), vec2(0.06711056, 0.00583715))));
    colour = vec4(code + (noise - 0.5) / 255.0, 1.0);
}
