"""One compute thread a process: two test workers and what they start share two cores.

Threads of one product wait for each other by spinning, which takes their cores from the others:
with two threads each the same tests took half as long again, and five times as long beside other
work. Tests of several threads ask for them.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
