"""Capture engines: what opens a source and decodes its pictures, each in a file of its own behind `capture.Capture`.

    opencv      cv2.VideoCapture with FFmpeg, or what a system's build of OpenCV has; webcams
    gstreamer   the same with a pipeline of GStreamer instead of an address
    pyav        FFmpeg's libraries through PyAV: the pictures' own times, key frames, damage, deinterlacing
    image_files   the pictures of a folder; watched_folder also takes those that arrive later, each once

`choice` says which of them reads a source. An engine runs in a reader process only: what it decodes comes from outside.
"""
