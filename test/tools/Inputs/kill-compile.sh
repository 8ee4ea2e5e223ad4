#!/bin/sh
# Kills `llmc compile CHECKPOINT -o FOLDER/m.llmc` at times spread over its whole run, and fails if FOLDER/m.llmc is ever anything but
# what lay there before or the whole new artifact. usage: kill-compile.sh CHECKPOINT FOLDER ROUNDS
set -eu
checkpoint=$1 folder=$2 rounds=$3
mkdir -p "$folder"
now() { date +%s%N; }
start=$(now)
llmc compile "$checkpoint" -o "$folder/whole.llmc" --cpu=x86-64-v3
length=$((($(now) - start) / 1000000)) # milliseconds
kept=0
round=0
while [ $round -lt "$rounds" ]; do
  echo old >"$folder/m.llmc"
  llmc compile "$checkpoint" -o "$folder/m.llmc" --cpu=x86-64-v3 &
  pid=$!
  milliseconds=$((length * (round + 1) / rounds))
  sleep $((milliseconds / 1000)).$(printf %03d $((milliseconds % 1000)))
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  if [ "$(head -c 4 "$folder/m.llmc")" = old ]; then
    kept=$((kept + 1))
  elif ! cmp "$folder/m.llmc" "$folder/whole.llmc"; then
    echo "killed after $milliseconds ms, the compiler left a part of an artifact under its name"
    exit 1
  fi
  round=$((round + 1))
done
[ $kept -gt 0 ] || { echo "no round was killed in time"; exit 1; }
llmc compile "$checkpoint" -o "$folder/m.llmc" --cpu=x86-64-v3
cmp "$folder/m.llmc" "$folder/whole.llmc"
left=$(ls "$folder" | grep -vx -e m.llmc -e whole.llmc || true)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
