"""In place of a library that the module imports and that this case does not use."""
