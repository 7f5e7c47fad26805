"""How the codec's networks and bases are made from the synthetic capture dome."""
