#!/bin/bash
. "$CASE/../lib.sh"
touch ceph.conf ceph.keyring
start python3 "$CASE/serve.py" "$PORT1"; port "$PORT1"
ready
