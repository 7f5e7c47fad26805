"""What the project ships besides code: models, avatars, hands, clips, and the manifest of them."""
