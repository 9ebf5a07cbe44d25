#!/bin/bash
. "$CASE/../lib.sh"
program() { { printf '#!/bin/sh\nlate=0; [ -e "%s/later" ] && late=1\n' "$DIR"; cat; } > "bin/$1"; chmod 755 "bin/$1"; }
program sudo <<'P'
while [ "${1#-}" != "$1" ]; do case $1 in -l|-v) exit 0;; esac; shift; done
exec "$@"
P
program arcconf <<'P'
echo "Controllers found: 1"
if [ "$4" = LD ] || [ "$3" = LD ]; then
  [ $late = 1 ] && state=Degraded || state=Optimal
  printf 'Logical device number 0\n   Status of Logical Device                 : %s\nLogical device number 1\n   Status of Logical Device                 : Optimal\n' "$state"
else
  printf '      Device #0\n         State                              : Online\n         S.M.A.R.T. warnings                : %s\n         Temperature                        : 40 C/ 104 F (120 C/ 248 F Threshold)\n         NCQ status                         : Enabled\n' "$late"
  printf '      Device #1\n         State                              : Failed\n         S.M.A.R.T. warnings                : 3\n         Temperature                        : Not Supported\n         NCQ status                         : Enabled\n'
fi
P
program megacli <<'P'
case $1 in
-LDPDInfo) printf 'Adapter #0\n\nState               : %s\nSlot Number: 3\nMedia Error Count: %s\nPredictive Failure Count: 1\nSlot Number: 4\nMedia Error Count: 0\nPredictive Failure Count: 0\n' "$([ $late = 1 ] && echo Degraded || echo Optimal)" "$late" ;;
*) printf 'BBU Capacity Info for Adapter: 0\n\n  Relative State of Charge: 9%s %%\n  Cycle Count: 4\n' "$late" ;;
esac
P
program exim <<'P'
echo "a word on standard error" >&2; echo $((3 + late * 4))
P
program postqueue <<'P'
[ $late = 0 ] && { echo "Mail queue is empty"; exit; }
printf 'B1 2050 Mon\n\n-- 7 Kbytes in 3 Requests.\n'
P
program loginctl <<'P'
printf '1 1000 anna seat0 tty2\n2 1001 ben\n3 1000 anna seat0\n'; [ $late = 1 ] && echo '9 1002 eve'
exit 0
P
program smbstatus <<'P'
printf 'smb2_read_count:   %s\nsmb2_write_count:  7\nsyscall_sendfile_bytes: 12345\nsyscall_recvfile_bytes: 1\nsmb2_lock_count: 2\nnothing here\n' $((100 + late * 50))
P
ready
