#!/usr/bin/env bash
# What a published policy needs of what it is given: trials with black cameras, without words, in other scenes.
#
#   training/ablations.sh TASK [TRIALS]      after training/reproduce.sh TASK; the first 18 published trials by default
#
# Results lie in out/TASK/evaluations; `activemimic compare` pairs them with out/TASK/evaluations/plan, scene by scene.
set -euo pipefail
cd "$(dirname "$0")/.."
task=$1 trials=${2:-18} published=out/$1/published

try() {  # NAME [OPTION…]
    activemimic eval --task "$task" --policy "$published" --trials "$trials" --no-video \
        --out "out/$task/evaluations/$1" "${@:2}"
    made+=(--evaluation "out/$task/evaluations/$1")
}

wrists=(--ablate-camera right_wrist)
if [ "$task" = finding ] || [ "$task" = pouring ]; then
    wrists+=(--ablate-camera left_wrist)
fi
made=()
try head_black --ablate-camera head
try wrists_black "${wrists[@]}"
try all_black --ablate-camera head "${wrists[@]}"
try no_words --instruction '?'
if [ "$task" = restocking ] || [ "$task" = finding ]; then
    try flashing_light --perturbation flashing_light
fi
if [ "$task" = finding ]; then
    try unseen_a --perturbation unseen_yogurt_a
    try unseen_b --perturbation unseen_yogurt_b
    try named_side --perturbation named_side
    try wrong_side_left --perturbation named_side --instruction 'find the yogurt on the left, grasp it and lift it'
    try wrong_side_right --perturbation named_side --instruction 'find the yogurt on the right, grasp it and lift it'
fi
activemimic policy publish "$published" "$published" "${made[@]}"
