#!/bin/sh
# Runs a command that costs money, with leave of aegis-proxy. Needs curl.
#
#   AEGIS_URL=http://localhost:8080 TENANT_KEY=aegis-... ./pay.sh ID AMOUNT_USD COMMAND...
#
# ID names the action and is used once. The command prints what it cost, as in
# 0.21. Where it fails, nothing is settled: the lease expires and is charged its
# hold, since the money may have been spent.
set -eu

[ $# -ge 3 ] || { echo "usage: pay.sh ID AMOUNT_USD COMMAND..." >&2; exit 2; }
id=$1
amount=$2
shift 2

# post VERB BODY prints the answer. curl repeats what was lost, 429 or 503; the
# same request twice is harmless.
post() {
  curl --silent --show-error --fail-with-body --max-time 10 --retry 3 --retry-connrefused \
    --header "Authorization: Bearer $TENANT_KEY" --header "Content-Type: application/json" \
    --data "$2" "$AEGIS_URL/aegis/v1/$1"
}

# member NAME prints a string member of the JSON on standard input.
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

answer=$(post authorize "{\"id\":\"$id\",\"action\":\"payment\",\"amount_usd\":\"$amount\",\"ttl_seconds\":60}") || {
  echo "denied: $answer" >&2
  exit 1
}
lease=$(printf '%s' "$answer" | member lease)
cost=$("$@")
post settle "{\"lease\":\"$lease\",\"amount_usd\":\"$cost\"}"
