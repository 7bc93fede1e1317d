#!/usr/bin/env bash
# Pins the clients anew, after a version in node/package.json or python/*.in was changed:
# every package that they need, with its hash. Then run make agents.
set -euo pipefail
cd "$(dirname "$0")"
export UV_CUSTOM_COMPILE_COMMAND=test/agents/lock.sh
for set in python/*.in; do
  ../../.tools/agents/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes "$set" -o "${set%.in}.txt"
done
npm install --prefix node --package-lock-only --no-audit --no-fund
