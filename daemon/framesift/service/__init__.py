"""What builds, starts, watches and stops one run of framesift."""
