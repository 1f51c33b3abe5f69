"""What is true without Prefect: the machines, jobs, records and genetics that the rest dresses up."""
