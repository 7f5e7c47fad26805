"""Records over the network to and from a headset. Nothing is here yet."""
