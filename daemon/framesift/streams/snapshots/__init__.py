"""Snapshots: the model sees a camera's sub stream, and the picture that is kept is the main stream's.

A process of its own keeps the main stream's packets undecoded, and decodes the picture that is nearest in time to a
frame when it is asked for.

    snapshot_settings   the block `snapshot` of a stream
    ticket              what becomes of one request: a picture, or why there is none
    snapshot_source     the daemon's side: the process, its state, the requests
    url_snapshots       the same for an address that gives a JPEG

    packet_groups       the packets that are kept, and which of them is nearest to a time
    group_decoder       from the key frame of a group to one picture
    split_log           FFmpeg's lines, where one thread reads packets and another decodes
    keeper              the process's own side: one thread reads packets, one receives requests, one decodes
"""
