"""The classes that a module's `Service` inherits."""
