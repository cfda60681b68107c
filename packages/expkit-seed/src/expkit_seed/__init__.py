"""Every random number generator seeded, saved and restored, in loader workers too."""
