"""A headset's browser as display and sensor: the server that it talks to, and the page it opens."""
