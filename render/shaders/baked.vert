// A surface whose texture holds the light of its capture.
layout(location = 0) in vec3 position;  // world, metres
layout(location = 2) in vec2 uv;        // (0, 0) is the texture's top-left

uniform mat4 clip_from_world;

out vec2 v_uv;

void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    v_uv = uv;
}
