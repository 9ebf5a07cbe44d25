"""In place of a library for tables: one row, other figures once the file `later` is there."""

import os


class DataFrame:
    """A table of one row."""

    def __init__(self, row):
        self._row = row

    def to_dict(self, orient):
        return [self._row]


def read(number):
    late = os.path.exists(os.environ["LATER"])
    return DataFrame({"mean_%d" % number: number * 1.5 + late, "none_%d" % number: None, "count_%d" % number: 10 * number})
