#!/bin/sh
# Table 2 in miniature: trains every system of recipes/table2 on the same data for the same time, and prints one table.
#   sh recipes/table2.sh FOLDER [MINUTES] [TARGET] [KEY=VALUE]...
# FOLDER has train, val and the test sets of Multi30k as NAME.LANGUAGE; MINUTES of training a system (20); TARGET is the
# language (de). Runs and the picture of BLEU against counted FLOPs go to table2-TARGET/runs/table2 here. What is trained
# already is taken as it is, and what was interrupted goes on. Further settings are for all systems.
set -eu
folder=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
minutes=${2:-20}
target=${3:-de}
[ $# -lt 3 ] && shift $# || shift 3
systems="lstm lstm_dot lstm_multiplicative lstm_additive bytenet deep_att gnmt gnmt_rl convs2s moe transformer"
recipes=
for system in $systems; do
  recipes="$recipes $here/table2/$system.yaml"
done
# gnmt_rl begins with the model of gnmt, in runs/table2 of the working directory.
mkdir -p "table2-$target"
cd "table2-$target"
# shellcheck disable=SC2086  # no path of this repository has a space: one word a recipe
exec regard compare $recipes data.root="$folder" data.target="$target" "$@" -o runs/table2 --minutes "$minutes" \
  --ensemble transformer,convs2s,lstm_additive --plot bleu.svg --markdown
