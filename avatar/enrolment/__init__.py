"""An avatar of one person, made from an ordinary video of that person."""
