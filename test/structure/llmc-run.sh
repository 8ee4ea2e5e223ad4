#!/bin/sh
# What llmc-run, or another program that runs where only the runtime is, needs there and how large it is. usage: llmc-run.sh READELF FILE
set -eu
readelf=$1
file=$2
failed=0
needed=$("$readelf" --dynamic-table "$file" | grep -E 'NEEDED|RUNPATH|RPATH' || true)
if echo "$needed" | grep -E 'libLLVM|libMLIR|libclang|libabsl|libstdc\+\+|libgcc_s'; then
  echo "$file: the libraries above do not exist where only the runtime is installed" >&2
  failed=1
fi
size=$(wc -c <"$file")
if [ "$size" -gt 5242880 ]; then
  echo "$file: $size bytes; at most 5 MB" >&2
  failed=1
fi
exit $failed
