"""expkit: an experiment kit; see the packages named in its README."""
