#!/bin/sh
# The main job, shown: an issuer prepares 500 cards, the bureau personalizes them on the simulated line sim-8.
# Everything lands in target/demo. CARDS and SPEED may be set.
set -eu
cd "$(dirname "$0")/.."
CARDS=${CARDS:-500}
SPEED=${SPEED:-20}
BIN=${CARGO_TARGET_DIR:-target}/debug
OUT=target/demo
rm -rf "$OUT"
mkdir -p "$OUT/issuer" "$OUT/bureau"

say() { printf '\n== %s\n' "$1"; }

say "Issuer: TEST keys, $CARDS cardholders, output file"
"$BIN/cardwright-prep" key init --test --from tests/data/keys-issuer.toml --store "$OUT/issuer/keys.store"
"$BIN/cardwright-prep" sample --count "$CARDS" --output "$OUT/issuer/cardholders.csv"
"$BIN/cardwright-prep" run --input "$OUT/issuer/cardholders.csv" --product multiapp \
    --keys "$OUT/issuer/keys.store" --output "$OUT/multiapp.cwf1"

say "Bureau: TEST keys, a look into the file"
"$BIN/cardwright" key init --test --from tests/data/keys-bureau.toml --store "$OUT/bureau/keys.store"
"$BIN/cardwright" inspect "$OUT/multiapp.cwf1" --keys "$OUT/bureau/keys.store"

say "Bureau: the line sim-8, $SPEED times as fast as the machine"
"$BIN/cardwright" run "$OUT/multiapp.cwf1" --line sim-8 --keys "$OUT/bureau/keys.store" \
    --ledger "$OUT/bureau/ledger.db" --events "$OUT/bureau/events.jsonl" --report "$OUT/bureau/report.json" \
    --simulate --speed "$SPEED" --dump "$OUT/bureau/dumps"

say "One card of the job, as the ledger knows it"
"$BIN/cardwright" card show J1 1 --ledger "$OUT/bureau/ledger.db"
