"""What is handed to Slurm, and its record: settings, plan, sbatch command, record, placements.

Others take requests, plans, `Submission` with its arrays and runs, `Placement`, and the snapshot of
the code. Pure facts lie low; `submitting` and `request` hand them to Slurm. Stands on `_cluster`.
"""
