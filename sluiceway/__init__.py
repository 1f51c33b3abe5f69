"""sluiceway: work on Slurm from Prefect, with proof; and every polygenic score against every reference person."""
