"""A Slurm for tests: sbatch, squeue, sacct, scancel and scontrol as programs, real jobs, and faults on request.

Standard library only, on one machine, as one user, with nothing to install::

    slurm = FakeSlurm.made(tmp_path / "slurm")     # writes the programs
    os.environ["PATH"] = f"{slurm.programs}:{os.environ['PATH']}"
    slurm.lose_answer("sbatch")                    # the next job is made, but sbatch says that it timed out

State lies in one JSON file under a lock, so the programs work from any process; a job is the batch script itself, run
by a runner in the place of Slurm's node daemon. Answers are worded as Slurm 22.05's.
"""
