"""Pages are made in turn, whoever came first: then nearly all are ready sooner than if all at once.

Python works on one at a time anyway; a second may begin while the first waits for the database.
"""

import threading

AT_ONCE = 2
TURNS = threading.BoundedSemaphore(AT_ONCE)
