#!/bin/sh
# The browser tests need Chromium. Debian's package is installed where that is possible; where it is not, the
# tests say that they were skipped, and why.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Debian's chromium for the browser tests…"
    (apt-get update && apt-get install --yes --no-install-recommends chromium fonts-noto-cjk) >/dev/null 2>&1 && exit 0
fi
echo "No chromium here and no way to install it: the browser tests will be skipped."
