"""Talk to hosts over SSH; the only home of paramiko.

Host keys are the farm's own business: an unknown one is refused until ``farm hosts trust`` has
recorded it, a changed one always. All else is as ``ssh`` would do it, ``~/.ssh/config`` included.
"""
