#!/usr/bin/env bash
# From nothing to a published policy and its evaluations, by the project's own commands; stopped, it goes on.
#
#   training/reproduce.sh TASK…            restocking, reaching, finding, pouring
#   BUDGET=paper training/reproduce.sh …   with as many demonstrations as the paper had (Table 2)
#
# Everything lies in out/TASK (out/TASK_paper); the result is out/TASK/published/card.md. On two cores a task takes one
# to two hours. docs/explanation/learning.md says what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-42} ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
BUDGET=${BUDGET:-free}
declare -A PAPER=([restocking]=270 [reaching]=30 [finding]=60 [pouring]=90)

demonstrate() {  # TASK EPISODES FIRST_SEED [OPTION…]
    activemimic sim demos --task "$1" --episodes "$2" --first-seed "$3" --camera-hz 10 --out "out/$1/demos" "${@:4}"
}

try() {  # TASK RUN NAME [OPTION…]
    local out=out/$2/evaluations/$3
    activemimic eval --task "$1" --policy "out/$2/published" --out "$out" --no-video "${@:4}"
}

for task in "$@"; do
    case $task in
        restocking) demonstrate restocking 380 2000 ;;
        reaching) demonstrate reaching 306 2000 ;;
        finding)
            demonstrate finding 330 2000
            demonstrate finding 110 3000 --variation named_side
            ;;
        pouring) demonstrate pouring 360 2000 ;;
        *) echo "unknown task '$task': expected ${!PAPER[*]}" >&2; exit 2 ;;
    esac

    run=$task most=()
    if [ "$BUDGET" = paper ]; then
        run=${task}_paper most=(--max-episodes "${PAPER[$task]}")
    fi
    dataset=out/$run/dataset published=out/$run/published
    [ -d "$dataset" ] || activemimic dataset build "out/$task/demos" --out "$dataset" --fps 10 "${most[@]}"
    activemimic train "training/configs/$task.yaml" "dataset=$dataset" "out=out/$run/train"
    activemimic policy publish "out/$run/train/checkpoint" "$published" --dataset "$dataset"

    try "$task" "$run" plan
    try "$task" "$run" held_out --first-seed 1100000 --trials 100
    try "$task" "$run" ros --through-ros
    activemimic policy publish "$published" "$published" --dataset "$dataset" \
        --evaluation "out/$run/evaluations/plan" --evaluation "out/$run/evaluations/held_out" \
        --evaluation "out/$run/evaluations/ros"
done
