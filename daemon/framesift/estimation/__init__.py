"""What the baseline's pictures say of all frames: arithmetic and reading of files; nothing here changes anything.

The baseline picks one frame at random from each stratum, a stretch of the day, and records how many frames were in it:
the weight of the picture. So its pictures, and no others that are collected, stand for all frames.
"""
