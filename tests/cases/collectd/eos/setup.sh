#!/bin/bash
mkdir -p "$DIR/bin"
cat > "$DIR/bin/eos" <<'Y'
#!/bin/sh
case "$*" in
 *"version -m") echo "EOS_SERVER_VERSION=4.4.23 EOS_INSTANCE=lake" ;;
 *"node ls -m") printf 'hostport=fst1:1095 status=online nofs=4 sum.stat.statfs.freebytes=1000000000000\n\nhostport=fst2:1095 status=offline nofs=0 sum.stat.statfs.freebytes=none\n' ;;
 *"fs ls -m") printf 'id=1 host=fst1 stat.statfs.usedbytes=5e9 stat.ropen=12 stat.disk.load=0.25\nid=2 host=fst1 stat.statfs.usedbytes=1 stat.ropen=many stat.disk.load=1.5\n' ;;
 *"space ls -m") echo 'name=default type=spaceview nofs=4' ;;
 *) echo "unknown: $*" >&2; exit 22 ;;
esac
Y
chmod +x "$DIR/bin/eos"
echo ready; cat >/dev/null
