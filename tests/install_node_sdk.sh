#!/bin/sh
# The tests with the official Node SDK need Node and two packages. They go beside the virtual environment; where
# that cannot be, the tests say that they were skipped, and why.
place=.venv/node
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "No Node here: the tests with the Node SDK will be skipped."
    exit 0
fi
packages() {
    node -e 'const d = require("./tests/node/package.json").dependencies; console.log(Object.entries(d).map((e) => e.join("@")).join(" "))'
}
mkdir -p "$place"
cmp -s tests/node/package.json "$place/package.json" && [ -d "$place/node_modules/openai" ] && exit 0
echo "Installing the Node SDK for its tests…"
rm -f "$place/package.json"
# What is installed is written down last: a run that was broken off begins anew.
if ! (npm install --prefix "$place" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --omit=peer \
    --fetch-retries 1 --fetch-retry-mintimeout 2000 $(packages) && cp tests/node/package.json "$place/package.json") >/dev/null 2>&1; then
    rm -rf "$place"
    echo "The Node SDK could not be installed: its tests will be skipped."
fi
exit 0
