"""Privacy: what is covered on every picture that is kept, and what happens to a frame that can't be covered."""
