"""Sweeps as Ray jobs: they run on a cluster, and outlive the connection that submitted them.

What runs where: `entry` and `head` are programs on the cluster's head node, everything else is
what the commands `submit`, `status`, `logs`, `stop`, `resume` and `fetch` do on the user's machine.
"""
