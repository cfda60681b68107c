#!/bin/sh
# Bundle Apache ECharts anew, from the versions in package.json; needs node and npm.
# Why ECharts: see docs/report.md. Afterwards look at a report, and run tests/page.
set -eu
cd "$(dirname "$0")"
assets=$(realpath ../src/expkit_plotting/_page/assets)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp package.json echarts.js "$folder"
cd "$folder"
npm install --silent --no-audit --no-fund --no-package-lock
version() { node -p "require('./node_modules/$1/package.json').version"; }
banner="/*! Apache ECharts $(version echarts), zrender $(version zrender), tslib $(version tslib); licences: LICENSES.txt */"
npx esbuild echarts.js --bundle --minify --format=iife --global-name=echarts --target=es2020 \
  --legal-comments=none --banner:js="$banner" --outfile="$assets/echarts.min.js" --log-level=warning
{
  echo "echarts.min.js holds parts of the following libraries, bundled by vendor/refresh.sh."
  for library in echarts zrender tslib; do
    printf '\n%s %s\n%s\n\n' "$library" "$(version $library)" "$(printf '=%.0s' $(seq 60))"
    for file in LICENSE LICENSE.txt NOTICE licenses/LICENSE-d3; do
      if [ -f "node_modules/$library/$file" ]; then cat "node_modules/$library/$file"; echo; fi
    done
  done
} > "$assets/LICENSES.txt"
wc -c "$assets/echarts.min.js" "$assets/LICENSES.txt"
