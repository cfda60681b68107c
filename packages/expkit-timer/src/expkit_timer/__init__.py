"""Time of code blocks: nested, thread-safe, in bounded memory, on CUDA without a stall."""
