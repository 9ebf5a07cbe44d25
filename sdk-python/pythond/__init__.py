"""The Python side of pythond: runs collectors in worker processes and carries their reports to the agent."""

__version__ = "0.1.0"
