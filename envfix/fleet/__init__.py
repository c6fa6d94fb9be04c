"""Many nodes at once, through what a cluster already has: srun, ssh, kubectl, Ansible. No daemon, nothing installed there.

``asking`` and ``travelling`` say how a node is asked, ``gathering`` asks many side by side; each engine (``slurm``, ``ssh``,
``kubernetes``, ``ansible``) says which nodes there are and how one is reached.
"""
