"""The casebook's library: worlds whose truth is known, and the instruments that the builds share.

Importing the package fixes the number of threads that numerical libraries may use to one. A training run is then
identical from run to run on one machine, and two processes on two cores do not fight (measured: 4 s instead of 11 s
each). Import it in the first code cell of a notebook, before anything heavy.
"""

import os
import sys

__version__ = "0.1.0"

THREADS = 1

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, str(THREADS))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Libraries that were imported before this one have read their environment already.
if "numpy" in sys.modules:
    import threadpoolctl

    threadpoolctl.threadpool_limits(THREADS)
if "torch" in sys.modules:
    sys.modules["torch"].set_num_threads(THREADS)
