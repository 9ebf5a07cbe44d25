"""The arithmetic of rows as the agent does it, as far as collectd's dialect needs it; only for tests."""

import collections


def of_rows(rows):
    """Returns the fields of each row, by measurement, type and type instance; None is no value."""
    last = {}
    found = collections.defaultdict(list)
    for measurement, tags, time_ns, readings in rows:
        key = measurement, tags["type"], tags.get("type_instance", "")
        fields = {}
        for field, value, kind, out, raw, low, high, gap in readings:
            if out in ("raw", "both"):
                fields[raw or field] = value
            if kind == "gauge":
                fields[field] = value
            elif out in ("rate", "both"):
                before = last.get((key, field))
                last[key, field] = value, time_ns
                fields[field] = within(rate(kind, value, time_ns, before, gap), low, high)
        found[key].append(fields)
    return found


def rate(kind, value, time_ns, before, gap):
    dt = (time_ns - before[1]) / 1e9 if before else 0
    if dt <= 0 or (gap is not None and dt > gap):
        # The first one: the interval is that of the value list, which the gap is twice.
        return value / (gap / 2) if kind == "absolute" and gap else None
    if kind == "absolute":
        return value / dt
    step = value - before[0]
    if step >= 0 or kind == "derive":
        return step / dt
    cap = 2**32 if before[0] < 2**32 else 2**64
    return (step + cap) / dt if step + cap < cap / 10 else None


def within(value, low, high):
    if value is None or (low is not None and value < low) or (high is not None and value > high):
        return None
    return value
