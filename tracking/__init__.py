"""A person's face, gaze and hands in metres, from the pictures of one camera."""
