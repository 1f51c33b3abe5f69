"""Jobs on Slurm through sluiceway, beside sbatch itself, submitit and dagster-slurm."""
