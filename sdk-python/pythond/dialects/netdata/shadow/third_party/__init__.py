"""What netdata ships for its modules and Python has by now; an installation's own extras are found behind it."""
