"""The clock that everything takes as an argument, and a point in time of this machine."""
