"""Which strategies match a frame, and what that would cost and create."""
