#!/bin/sh
# The whole path on written data: a corpus with known motion, a check of it, two systems, one page. strcn-g runs under its
# quickest preset; its default on frames takes the steps of the paper, of which `mien prepare` writes the pictures.
# Usage: demo.sh FOLDER (default: demo). MIEN names the command.
set -eu
folder=${1:-demo}
mien=${MIEN:-mien}
rm -rf "$folder"
"$mien" synthesise --out "$folder/corpus" --layout casme2 --subjects 10 --clips 9 --width 112
"$mien" check "casme2=$folder/corpus"
export MIEN_CACHE="$folder/cache"
clip=$(find "$folder/corpus" -type d -name 'EP*' | sort | head -n 1)
"$mien" prepare "$clip" --fps 200 --recipe strcn-g --set transform=none --set flow=dis --out "$folder/inputs" --pictures "$folder/pictures"
"$mien" benchmark "casme2=$folder/corpus" --labels megc2019 --system flow-svm --out "$folder/flow-svm"
"$mien" benchmark "casme2=$folder/corpus" --labels megc2019 --system strcn-g --set preset=pictures --out "$folder/strcn-g"
"$mien" benchmark "casme2=$folder/corpus" --labels megc2019 --system flow-svm --shuffle-labels --out "$folder/shuffled"
"$mien" report "$folder/flow-svm" "$folder/strcn-g" "$folder/shuffled" --html "$folder/report.html" >"$folder/report.txt"
echo
echo "From frames to flow: $folder/pictures"
echo "The report: $folder/report.html"
