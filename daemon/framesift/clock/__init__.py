"""The clock that every part of the program takes as an argument, and a point in time of this machine."""
