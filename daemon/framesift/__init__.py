"""framesift."""
