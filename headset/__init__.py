"""Records over the network to and from a headset."""
