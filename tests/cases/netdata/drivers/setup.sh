#!/bin/bash
. "$CASE/../lib.sh"
program() { { printf '#!/bin/sh\nlate=0; [ -e "%s/later" ] && late=1\n' "$DIR"; cat; } > "bin/$1"; chmod 755 "bin/$1"; }
program ssacli <<'P'
[ $late = 1 ] && state='Recovering, 12.5% complete' || state=OK
cat <<T
Smart Array P420i in Slot 0 (Embedded)
   Controller Status: OK
   Controller Temperature (C): 8$late
   Cache Board Present: True
   Cache Status: OK
   Cache Module Temperature (C): 35
   Battery/Capacitor Count: 1
   Battery/Capacitor Status: Failed

   Array: A
      Status: OK
      Logical Drive: 1
         Size: 279.4 GB
         Status: $state
      physicaldrive 1I:1:1
         Status: OK
         Current Temperature (C): 3$late
      physicaldrive 1I:1:2
         Status: Failed
   Unassigned
      physicaldrive 1I:1:3
         Status: OK
T
P
program nvidia-smi <<'P'
card() { printf '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "x.dtd">\n<nvidia_smi_log>\n<gpu id="00000000:01:00.0">\n<product_name>One Card</product_name>\n<fan_speed>3%s %%</fan_speed>\n<fb_memory_usage><used>120 MiB</used><free>N/A</free></fb_memory_usage>\n<utilization><gpu_util>5 %%</gpu_util><memory_util>1 %%</memory_util></utilization>\n<temperature><gpu_temp>41 C</gpu_temp></temperature>\n<power_readings><power_draw>20.25 W</power_draw></power_readings>\n<clocks><graphics_clock>300 MHz</graphics_clock><sm_clock>300 MHz</sm_clock></clocks>\n</gpu>\n</nvidia_smi_log>\n' $late; }
case "$*" in
*-l*) while :; do late=0; [ -e "$DIR/later" ] && late=1; card; sleep 1; done ;;
*) card ;;
esac
P
sed -i "s|\$DIR|$DIR|g" bin/nvidia-smi
start python3 "$CASE/serve.py" "$PORT1" "$PORT2" "$PORT3" "$DIR/later"; port "$PORT1"; port "$PORT2"; port "$PORT3"
ready
