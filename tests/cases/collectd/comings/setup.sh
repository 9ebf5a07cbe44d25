#!/bin/bash
printf '# what is read\n0.25 1.5 3\nnone\n' > "$DIR/loads"
echo ready; cat >/dev/null
