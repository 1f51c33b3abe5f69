"""A real Slurm on one machine: Debian's own daemons in one private folder, for trying things and for the tests."""
