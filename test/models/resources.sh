#!/bin/sh
# resources.sh LLMC WORK [--update]: registers, spills and shared memory of every kernel of two small models, and of the one that --persistent
# makes of those of `advance` (with the functions that it calls), as ptxas tells, against the table beside this file. A kernel that spills more
# than the table says fails. --update writes the table anew. Ends with 77 where there is no ptxas.
set -eu
llmc=$1 work=$2 mode=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
golden=$here/../golden table=$here/resources.txt
PATH=$PATH:/usr/local/cuda/bin
command -v ptxas > /dev/null || { echo "no ptxas on this machine: resources of kernels are not known"; exit 77; }
mkdir -p "$work"

# model | kernel | threads, registers, spilled bytes and shared memory on sm_80 | the same on sm_90a
measure() {
  for name in llama-a kimi-a; do # every kind of layer that a GPU's kernels have forms for
    "$llmc" compile "$golden/$name" --target=cuda --arch=sm_80,sm_90a --persistent -o "$work/$name.llmc" >&2
    "$llmc" inspect --resources "$work/$name.llmc" | awk -v model="$name" '
      $1 == "cuda" { arch = $2 }
      $1 == "merged," { sub(/merged, of [0-9]+ kernels/, "merged") }
      NF >= 7 && $2 ~ /^[0-9]+$/ {
        if (!($1 in row)) order[++count] = $1
        row[$1] = row[$1] sprintf(" | %7d %9d %6d %7s %-3s", $2, $3, $4, $5, $6)
      }
      END { for (i = 1; i <= count; ++i) printf "%-16s | %-40s%s\n", model, order[i], row[order[i]] }'
  done
}

measure > "$work/resources.txt"
if [ "$mode" = --update ]; then
  {
    echo "# Written by test/models/resources.sh --update, with $(ptxas --version | sed -n 's/.*release \([0-9.]*\).*/ptxas \1/p')."
    echo "# model          | kernel                                   | sm_80: threads, registers, spills, shared | sm_90a: the same"
    sed 's/ *$//' "$work/resources.txt"
  } > "$table"
fi
awk -F'|' '
  { sub(/ +$/, "", $1); gsub(/ /, "", $2); key = $1 "|" $2 }
  FNR == NR { if ($0 !~ /^#/) for (i = 3; i <= 4; ++i) { split($i, f, " "); known[key i] = f[3] } ; next }
  {
    for (i = 3; i <= 4; ++i) {
      split($i, f, " ")
      if (f[3] + 0 > known[key i] + 0) {
        printf "%s kernel %s spills %d bytes a thread on %s, the table says %d\n", $1, $2, f[3], i == 3 ? "sm_80" : "sm_90a", known[key i]
        bad = 1
      }
    }
    ++kernels
  }
  END {
    if (bad) print "use fewer registers; or, if it must be, test/models/resources.sh LLMC WORK --update"
    printf "%d kernels\n", kernels
    exit bad || kernels == 0
  }' "$table" "$work/resources.txt"
