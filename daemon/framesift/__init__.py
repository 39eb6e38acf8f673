"""framesift: the frames that are worth a label, from cameras to a labelling platform.

    for frame in stream.frames():                       # collect.py: loop one, a thread per stream
        prediction = model.predict(frame)
        decision = sampler.decide(frame, prediction)    # which strategies match it, in the policy's order
        if spool.check_quota(...) is granted:           # refuse first, encode last
            spool.put(encode(frame, prediction), ...)   # image, prediction and quota in one transaction

    for item in spool.claim(...):                       # upload/uploader.py: loop two, worker threads
        result = sink.deliver(item)                     # delivered, duplicate, retry later, rejected
        spool.complete(item) or spool.retry_later(item, at) or spool.bury(item)

The spool between the two loops is the only place where they meet.
"""

__version__ = "0.2.0"
