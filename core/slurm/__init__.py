"""Jobs on a Slurm cluster: asked for, found again, watched to their end, never run twice."""
