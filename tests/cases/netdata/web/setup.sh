#!/bin/bash
. "$CASE/../lib.sh"
start python3 "$CASE/serve.py" "$PORT1" "$DIR/later"; port "$PORT1"
ready
