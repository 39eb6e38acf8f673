"""What a policy would do, before it does it: policies applied to videos and recordings, and a policy for a budget.

Recordings are read line by line, so that nothing here grows with their length but the numbers of each minute.
"""
