"""Known pictures: those that people have already, which near_duplicate's `known` names. Frames like them are refused.

signature_cache     signatures that were made before, on the disk
known_signatures    the signatures of one list of paths, quick to compare
known_pictures      all lists of this process, and how they are read
"""
