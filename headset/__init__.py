"""Records over the network to and from a headset, and pictures to one on this machine."""
