#!/bin/bash
mkdir -p "$DIR/bin"
printf '#!/bin/sh\necho "<log><gpu id=\\"1\\"/></log>"\n' > "$DIR/bin/nvidia-smi"
chmod +x "$DIR/bin/nvidia-smi"
echo ready; cat >/dev/null
