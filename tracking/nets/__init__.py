"""Engines that run the networks."""
