"""The only composition root: the real clock, resolver, database, sockets and processes are joined here and nowhere else."""
