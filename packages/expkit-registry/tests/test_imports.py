import subprocess
import sys

HEAVY = ["torch", "numpy", "pandas", "hydra", "omegaconf", "yaml"]


def test_registering_and_building_from_a_dict_loads_nothing_heavy():
    code = (
        "from expkit_registry import BaseRegistry\n"
        "class Models(BaseRegistry[object]): pass\n"
        "Models.register('d', dict)\n"
        "Models.build({'name': 'd', 'a': 1})\n"
        f"import sys; print([n for n in {HEAVY} if n in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
