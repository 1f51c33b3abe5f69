"""How sluiceway is installed somewhere: servers, packages, and a real Slurm on one machine."""
