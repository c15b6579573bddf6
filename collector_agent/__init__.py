"""The Farwatch agent: samples one host, keeps what it took on disk, and delivers it to the back end.

The package needs psutil and the standard library and nothing else, so that it stays small on the hosts it
watches.  What it promises is written in ``docs/agent.md``.
"""

__version__ = "0.1.0"
