"""Lets Python take its machine for a Mac, as far as programs ask: no /proc, nothing of Linux in os.

Python imports it before all else from a folder in PYTHONPATH, so in every process that a test
starts. `EXPKIT_PROC` is where the real /proc is: psutil, which asks the kernel on a Mac, reads
there.
"""

import os
import sys
import sysconfig
import types

import psutil  # which chooses its system when it is imported

psutil.PROCFS_PATH = os.environ["EXPKIT_PROC"]
os.environ["_PYTHON_SYSCONFIGDATA_NAME"] = sysconfig._get_sysconfigdata_name()
for name in ("O_TMPFILE", "fdatasync", "posix_fadvise", "posix_fallocate", "sched_getaffinity"):
    vars(os).pop(name, None)
sys.modules["_scproxy"] = types.SimpleNamespace(_get_proxies=dict, _get_proxy_settings=dict)
sys.platform = "darwin"
