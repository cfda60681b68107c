"""A registry is a class: names for classes and functions, checked before they are built."""
