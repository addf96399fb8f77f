#!/bin/sh
# Shows the main job: an issuer prepares 500 cards, the bureau personalizes them on the simulated line sim-8, and a terminal
# authenticates them offline.
# All files go into target/demo. CARDS and SPEED can be set. With HSM=softhsm the bureau's KMCs and KEKs lie in a PKCS#11 token of
# SoftHSM2.
set -eu
cd "$(dirname "$0")/.."
CARDS=${CARDS:-500}
SPEED=${SPEED:-20}
HSM=${HSM:-software}
case $HSM in software | softhsm) ;; *) echo "HSM is software or softhsm, not $HSM" >&2; exit 2 ;; esac
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

LIST=tests/data/keys-bureau.toml
LINE=sim-8
if [ "$HSM" = softhsm ]; then
    say "Bureau: puts its KMCs and KEKs into a token of SoftHSM2, from which they cannot be read"
    MODULE=/usr/lib/softhsm/libsofthsm2.so
    LIST=$OUT/bureau/keys.toml
    LINE=$OUT/bureau/sim-8-softhsm.toml
    # The token's files go with the demo. It has a PIN of its own, which a file gives to the line.
    TOKENS=$(mktemp -d)
    trap 'rm -rf "$TOKENS"' EXIT
    mkdir "$TOKENS/tokens"
    SOFTHSM2_CONF=$TOKENS/softhsm2.conf
    export SOFTHSM2_CONF
    printf 'directories.tokendir = %s\nobjectstore.backend = file\n' "$TOKENS/tokens" > "$SOFTHSM2_CONF"
    PIN=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    (umask 077; printf '%s\n' "$PIN" > "$TOKENS/pin")
    softhsm2-util --init-token --free --label demo --pin "$PIN" --so-pin "$PIN$PIN"
    "$BIN/hwsim" token-keys --module $MODULE --token demo --pin-file "$TOKENS/pin" --from tests/data/keys-bureau.toml \
        > "$LIST"
    {
        cat profiles/lines/sim-8.toml
        printf '\n[hsm]\nmodule = "%s"\ntoken = "demo"\nhost_crypto = "allowed"\nneeds = ["%s", "/dev/urandom"]\n' \
            $MODULE "$TOKENS/tokens"
    } > "$LINE"
fi

say "Bureau: makes its own key store"
"$BIN/cardwright" key init --test --from "$LIST" --store "$OUT/bureau/keys.store"
if [ "$HSM" = softhsm ]; then
    say "Bureau: tries each step on the token. The line will check the file when it accepts it: the KEKs are not in the store"
    "$BIN/cardwright" hsm check --module $MODULE --token demo --pin-stdin < "$TOKENS/pin"
    set -- --pin-file "$TOKENS/pin"
else
    say "Bureau: checks the file"
    "$BIN/cardwright" inspect "$OUT/multiapp.cwf1" --keys "$OUT/bureau/keys.store"
    set --
fi

say "Bureau: makes the cards on the line sim-8, $SPEED times as fast as the machine"
"$BIN/cardwright" run "$OUT/multiapp.cwf1" --line "$LINE" --keys "$OUT/bureau/keys.store" \
    --ledger "$OUT/bureau/ledger.db" --events "$OUT/bureau/events.jsonl" --report "$OUT/bureau/report.json" \
    --simulate --speed "$SPEED" --dump "$OUT/bureau/dumps" "$@"

say "Bureau: what the ledger says of record 1"
"$BIN/cardwright" card show J1 1 --ledger "$OUT/bureau/ledger.db"

say "Terminal: authenticates the purse of each good card by its certificates, and then its payment application"
"$BIN/hwsim" terminal --dump "$OUT/bureau/dumps" --authority "$OUT/authority.json" --aid F043575055525345
"$BIN/hwsim" terminal --dump "$OUT/bureau/dumps" --authority "$OUT/authority.json"

if [ "$HSM" = softhsm ]; then
    say "Steps that the token did inside, and steps that the host did"
    sed -n '/"token": {/,/}/p' "$OUT/bureau/report.json"
fi
