"""The importable surface of Panoptes, for its plugins; written anew for today's Pythons.

What a plugin returns is taken by `pythond.dialects.panoptes`. Without a host (in a plugin's own tests) everything works
too: key-value stores are then kept in memory.
"""
