#!/bin/sh
# No file names a path of one machine, none is larger than 4 MB. usage: tree.sh [root]
set -eu
cd "${1:-$(dirname "$0")/../..}"
files() { # what is or would be committed
  git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path './build*' -not -path './.git/*'
}
failed=0
# Spelled so that this file does not find itself.
pattern='(^|[^A-Za-z0-9_.$}/-])/(wor''k|roo''t|hom''e/[a-z]|Use''rs/[A-Za-z])(/|$|[^A-Za-z0-9_/])'
list=$(files | while read -r f; do [ -f "$f" ] && echo "$f"; done)
if echo "$list" | tr '\n' '\0' | xargs -0 grep -nIE "$pattern" /dev/null; then
  echo "the lines above name a path of one machine" >&2
  failed=1
fi
for f in $list; do
  size=$(wc -c <"$f")
  if [ "$size" -gt 4194304 ]; then
    echo "$f:1: $size bytes; files over 4 MB do not belong into the tree"
    failed=1
  fi
done
exit $failed
