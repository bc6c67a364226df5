"""What all tests and the processes that they start have in common.

One compute thread a process: two test workers and what they start share two cores. Threads of one
product wait for each other by spinning, which takes their cores from the others: with two threads
each the same tests took half as long again, and five times as long beside other work. Tests of
several threads ask for them.

Computing on CPUs, as if no GPU were there, real or pretended: what the tests compare is the same on
every machine, and workers are as many as they ask for. Tests of several GPUs pretend them to Ray.

Signals as in a terminal: a shell that starts the tests in the background has them ignore Ctrl-C,
nohup has them ignore SIGHUP, and what they start would inherit that.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.pop("RAY_OVERRIDE_RESOURCES", None)
for stop in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(stop) == signal.SIG_IGN:
        default = signal.default_int_handler if stop == signal.SIGINT else signal.SIG_DFL
        signal.signal(stop, default)
