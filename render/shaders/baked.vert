// A surface whose texture holds the light of its capture.
layout(location = 0) in vec3 position;  // world, metres
layout(location = 1) in vec3 normal;    // world
layout(location = 2) in vec2 uv;        // (0, 0) is the texture's top-left

uniform mat4 clip_from_world;
uniform vec3 eye;  // world, metres

out vec3 v_view;  // unit vector to the eye
out vec3 v_normal;
out vec2 v_uv;

void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    v_view = normalize(eye - position);
    v_normal = normal;
    v_uv = uv;
}
