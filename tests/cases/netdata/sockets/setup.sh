#!/bin/bash
. "$CASE/../lib.sh"
start python3 "$CASE/serve.py" "$DIR/later" "$DIR/dovecot.sock" "$PORT1" "$PORT2" "$PORT3" "$PORT4"
for p in "$PORT1" "$PORT2" "$PORT3" "$PORT4"; do port "$p"; done; file "$DIR/dovecot.sock"
ready
