"""`python -m framesift` is the command `framesift`."""

from framesift.cli import main

main()
