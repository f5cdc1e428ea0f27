#!/bin/sh
# A stand-in for forge-worker: speaks the job protocol and does what the blueprint's text says instead of building.
while [ $# -gt 1 ]; do
    case $1 in --state-dir) state=$2 ;; esac
    shift 2
done
read -r word id
dir=$state/jobs/$id
[ "$word" = job ] || exit 1
exec 9>"$dir/lock"
flock -n 9 || { echo "error the lock is held" >&0; exit 1; }
request=$(cat "$dir/request.json")
case $request in *behave-refuse*) echo "error the record is strange" >&0; exit 1 ;; esac
echo $$ >"$dir/pid"
echo "$id" >>"$state/started"
echo ok >&0
finish() {
    printf '%s' "$1" >"$dir/result.json.new"
    mv "$dir/result.json.new" "$dir/result.json"
    exit 0
}
echo "hello from the worker" >>"$dir/log"
echo '{"time":1.0,"type":"phase","phase":"build"}' >>"$dir/events.jsonl"
echo '{"time":1.5,"type":"progress","phase":"build","done":3,"total":9,"unit":"stages","message":"x"}' >>"$dir/events.jsonl"
case $request in
*behave-die*) exit 7 ;;
*behave-corrupt*) finish 'this is no JSON' ;;
*behave-fail*) finish '{"version":1,"state":"failed","error":{"name":"DepsolveFailed","message":"no package nano2","details":{"package":"nano2","near":["nano"]}}}' ;;
*behave-hold*)
    while [ -d "$dir" ] && [ ! -e "$dir/release" ]; do
        [ -e "$dir/cancel" ] && finish '{"version":1,"state":"cancelled","error":{"name":"Cancelled","message":"cancelled"}}'
        sleep 0.05 9>&-
    done ;;
esac
mkdir -p "$state/artifacts/$id"
printf 'image' >"$state/artifacts/$id/disk.qcow2"
finish '{"version":1,"state":"succeeded","error":null,"artifacts":[{"name":"disk.qcow2","path":"disk.qcow2","media-type":"application/x-qemu-disk","size":5,"sha256":"6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"}],"commit":{"ref":"debian/13/amd64/minimal","checksum":"cd","version":"1.0.0"},"phases":[{"name":"build","seconds":1.5}],"cached":["os"],"findings":[]}'
