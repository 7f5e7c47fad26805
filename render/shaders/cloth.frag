// Cloth: rough, with a fuzz that lights up at grazing angles.
void main() {
    vec3 woven = albedo();
    colour = picture(v_light * woven + v_highlight * (0.3 + woven), 1.0);
}
