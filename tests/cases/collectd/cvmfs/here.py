"""Has the plugin find its folders below $DIR."""
import collectd_cvmfs, os

for name in ("atlas.cern.ch", "lhcb.cern.ch", "missing.cern.ch"):
    os.makedirs(os.path.join(os.environ["DIR"], "cvmfs", name), exist_ok=True)
collectd_cvmfs.CVMFS_ROOT = os.path.join(os.environ["DIR"], "cvmfs")
