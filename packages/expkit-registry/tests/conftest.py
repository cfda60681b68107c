import sys
from pathlib import Path

# Hydra imports targets by name, so that this folder's modules must be importable by theirs.
sys.path.insert(0, str(Path(__file__).parent))
