"""What all tests of the repository share: the campaign of faults and its table."""

pytest_plugins = ["faults.plugin"]
