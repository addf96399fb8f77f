#!/bin/sh
# Shows the main job: an issuer prepares 500 cards, the bureau personalizes them on the simulated line sim-8, and a terminal
# authenticates them offline.
# All files go into target/demo. CARDS and SPEED can be set.
set -eu
cd "$(dirname "$0")/.."
CARDS=${CARDS:-500}
SPEED=${SPEED:-20}
BIN=${CARGO_TARGET_DIR:-target}/debug
OUT=target/demo
rm -rf "$OUT"
mkdir -p "$OUT/issuer" "$OUT/bureau"

say() { printf '\n== %s\n' "$1"; }

say "Issuer: makes a TEST key store, an RSA key with a certificate of a test authority, and key pairs for $CARDS cards"
"$BIN/cardwright-prep" key init --test --from tests/data/keys-issuer.toml --store "$OUT/issuer/keys.store"
"$BIN/cardwright-prep" issuer-cert new --keys "$OUT/issuer/keys.store" --issuer 476173
"$BIN/cardwright-prep" issuer-cert self --keys "$OUT/issuer/keys.store" --key 476173:1 --expiry 12/2049 \
    --authority "$OUT/authority.json"
# Two for each card: payment application and purse.
"$BIN/cardwright-prep" pool fill --keys "$OUT/issuer/keys.store" --pool "$OUT/issuer/pool.1152" --bits 1152 \
    --count $((2 * CARDS))

say "Issuer: makes up $CARDS cardholders and prepares the output file"
"$BIN/cardwright-prep" sample --count "$CARDS" --output "$OUT/issuer/cardholders.csv"
"$BIN/cardwright-prep" run --input "$OUT/issuer/cardholders.csv" --product multiapp --keys "$OUT/issuer/keys.store" \
    --pool "$OUT/issuer/pool.1152" --output "$OUT/multiapp.cwf1"

say "Bureau: makes its own key store and checks the file"
"$BIN/cardwright" key init --test --from tests/data/keys-bureau.toml --store "$OUT/bureau/keys.store"
"$BIN/cardwright" inspect "$OUT/multiapp.cwf1" --keys "$OUT/bureau/keys.store"

say "Bureau: makes the cards on the line sim-8, $SPEED times as fast as the machine"
"$BIN/cardwright" run "$OUT/multiapp.cwf1" --line sim-8 --keys "$OUT/bureau/keys.store" \
    --ledger "$OUT/bureau/ledger.db" --events "$OUT/bureau/events.jsonl" --report "$OUT/bureau/report.json" \
    --simulate --speed "$SPEED" --dump "$OUT/bureau/dumps"

say "Bureau: what the ledger says of record 1"
"$BIN/cardwright" card show J1 1 --ledger "$OUT/bureau/ledger.db"

say "Terminal: authenticates the purse of each good card by its certificates, and then its payment application"
"$BIN/hwsim" terminal --dump "$OUT/bureau/dumps" --authority "$OUT/authority.json" --aid F043575055525345
"$BIN/hwsim" terminal --dump "$OUT/bureau/dumps" --authority "$OUT/authority.json"
