"""Panels in the scene: what they show and where they hang."""
