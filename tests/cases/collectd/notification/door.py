"""Tells that a door stands open."""
import collectd


def read():
    note = collectd.Notification(plugin="door", plugin_instance="front", type="gauge", severity=collectd.NOTIF_WARNING)
    note.dispatch(message="the door stands open", meta={"minutes": 5})
    note.dispatch(message="it is shut", severity=collectd.NOTIF_OKAY)


collectd.register_read(read)
