// Highlight of a light: GGX, with the visibility of Kelemen and Szirmay-Kalos. `nh` is the cosine
// of normal and half vector times the half vector's length, `q` the square of that length.
float ggx(float nh, float q, float alpha) {
    float a2 = alpha * alpha;
    float d = nh * nh * (a2 - 1.0) + q;
    return a2 * q / (d * d);
}

// Schlick's Fresnel.
float fresnel(float reflectance, float cosine) {
    float f = 1.0 - cosine, f2 = f * f;
    return reflectance + (1.0 - reflectance) * f2 * f2 * f;
}
