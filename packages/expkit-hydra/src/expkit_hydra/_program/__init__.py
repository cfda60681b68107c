"""The user's program: found, tried out, and started again in other processes as it was here.

Others take: `Program`, `program_to_start`, `start_interpreter`, `describe_task`, `user_function`.
Stands on `_composing`.
"""
