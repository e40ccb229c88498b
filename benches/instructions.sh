#!/bin/sh
# Instructions per message beside those of benches/instructions.txt: fails on a rise of more than 10 %.
#
#   benches/instructions.sh [--write]     --write: takes what is measured as the new measure
#
# Wants valgrind. The count of one message is the difference of two runs, over the difference of their messages:
# what a start costs is not in it.
set -eu
cd "$(dirname "$0")/.."
measure=benches/instructions.txt
cargo bench --locked --quiet --profile counted --bench instructions --no-run
binary=$(find "${CARGO_TARGET_DIR:-target}/counted/deps" -name 'instructions-*' -type f -perm -u+x -printf '%T@ %p\n' |
    sort -rn | sed -n '1s/^[^ ]* //p')
counted() { # OCTETS MESSAGES
    # A fixed environment: its size moves the stack, and with it a few instructions.
    env -i PATH="$PATH" valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : *//p'
}
failed=0 new=
for octets in 1024 10240 76800; do
    few=$(counted "$octets" 20) many=$(counted "$octets" 60)
    each=$(((many - few) / 40))
    was=$(sed -n "s/^$octets //p" "$measure" 2>/dev/null || true)
    echo "$octets octets: $each instructions a message (${was:-not measured} before)"
    new="$new$octets $each
"
    if [ -n "$was" ] && [ "$each" -gt $((was + was / 10)) ]; then
        echo "that is more than 10 % more: mend it, or say why in the commit that runs benches/instructions.sh --write" >&2
        failed=1
    fi
done
[ "${1:-}" != --write ] || { printf '%s' "$new" > "$measure"; exit 0; }
exit $failed
