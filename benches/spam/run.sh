#!/bin/sh
# The comparison of issue 6: Postern, rspamd and SpamAssassin on the same labelled mail, network tests off.
#
#   benches/spam/run.sh DEV.TAR.XZ WORK-FOLDER
#
# Unpacks the corpora into the work folder (they may not be committed), trains a fresh gateway on `train` of each, and
# measures on `devtest`: with what was learnt there, as it ships, and with the rules alone. Then rspamd and SpamAssassin
# where they are installed (Debian: `apt install rspamd spamassassin`), each with its Bayes filter trained on the same
# messages, and without. SpamAssassin reads five messages a second of processor time: twenty minutes. The scores of the
# peers stay in WORK-FOLDER/peers: a run that was stopped goes on where it was, and PEERS=no leaves them as they are.
set -eu
archive=$1
work=$2
postern=${POSTERN:-target/release/postern}
here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)

mkdir -p "$work/peers"
[ -d "$work/dev" ] || tar -xJf "$archive" -C "$work"

# gateway NAME: a copy of the policy that ships, with a data folder of its own.
gateway() {
    rm -rf "${work:?}/$1"
    mkdir -p "$work/$1"
    cp -r "$here/policies" "$work/$1/policies"
    config="$work/$1/policies/postern.toml"
}
measure() { "$postern" --config "$config" --json check --corpus "$work/dev/$1/devtest" --spam > "$work/$2.json"; }
learn() {
    for kind in spam ham; do
        "$postern" --config "$config" learn "$kind" "$work/dev/$1/train/$kind" > /dev/null
    done
}

for corpus in sa trec07; do
    gateway "rules-$corpus"
    sed -i '/^model = /d' "$work/rules-$corpus/policies/scoring.toml"
    measure "$corpus" "rules-$corpus"
    gateway "shipped-$corpus"
    measure "$corpus" "shipped-$corpus"
    gateway "trained-$corpus"
    learn "$corpus"
    measure "$corpus" "trained-$corpus"
done

# peer NAME PROGRAM…: both corpora, with and without learning. What decides the bars comes first.
peer() {
    name=$1
    shift
    for corpus in trec07 sa; do
        from="$work/dev/$corpus"
        nice -n 19 "$@" "$work/peers/$name-state-$corpus" "$work/peers/$name-bayes-$corpus.tsv" "$from/devtest" "$from/train"
        nice -n 19 "$@" "$work/peers/$name-state-none" "$work/peers/$name-$corpus.tsv" "$from/devtest"
    done
}
if [ "${PEERS:-yes}" = yes ]; then
    if command -v spamassassin > /dev/null; then peer spamassassin perl "$here/benches/spam/spamassassin.pl"; fi
    if command -v rspamd > /dev/null; then peer rspamd python3 "$here/benches/spam/rspamd.py"; fi
fi

# A fresh installation that is measured on the corpus of the model that ships says nothing: shipped-sa is in the table
# for completeness.
python3 "$here/benches/spam/table.py" "$work"
