// Premultiplied sRGB, shown as it is: a panel is a screen, not lit by the studio.
in vec2 v_uv;
uniform sampler2D picture;
out vec4 colour;

void main() {
    colour = texture(picture, v_uv);
    if (colour.a < 0.004) discard;
}
