"""framesift: the frames that are worth a label, from cameras to a labelling platform.

    for frame in stream.frames():                       # collect.py: loop one, a thread per stream
        prediction = model.predict(frame)
        verdict = sampler.judge(frame, prediction)      # which strategies want it, in the policy's order
        if spool.ask(quotas_of(verdict)) is granted:    # refuse first, encode last
            spool.put(encode(frame, prediction), ...)   # image, prediction and credit in one transaction

    for item in spool.claim(...):                       # upload.py: loop two, worker threads
        outcome = sink.deliver(item)                    # done, already there, later, never
        spool.done(item) or spool.later(item, at) or spool.bury(item)

The spool between the two loops is the only place where they meet.
"""

__version__ = "0.2.0"
