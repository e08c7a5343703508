#!/usr/bin/env bash
# From nothing to a published policy and its evaluations, by the project's own commands; stopped, it goes on.
#
#   training/reproduce.sh TASK…            restocking, reaching, finding, pouring; four_tasks: one policy for all
#   BUDGET=paper training/reproduce.sh …   with as many demonstrations as the paper had (Table 2)
#
# Everything lies in out/TASK (out/TASK_paper); the result is out/TASK/published/card.md. On two cores a task takes one
# to two hours. docs/explanation/learning.md says what came out.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-42} ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
BUDGET=${BUDGET:-free}
TASKS=(restocking reaching finding pouring)
declare -A PAPER=([restocking]=270 [reaching]=30 [finding]=60 [pouring]=90)
declare -A PAPER_STEPS=([restocking]=9000 [reaching]=3000 [finding]=3000 [pouring]=4000)

# After the first training, so many rounds: the policy and the expert move in turns, and training goes on with those too.
declare -A ROUNDS=([restocking]=2 [reaching]=0 [finding]=2 [pouring]=4 [four_tasks]=2)

demos() {  # TASK EPISODES FIRST_SEED FOLDER [OPTION…]
    activemimic sim demos --task "$1" --episodes "$2" --first-seed "$3" --camera-hz 10 --out "out/$1/$4" "${@:5}"
}

finding() {  # FOLDER FIRST_SEED EPISODES EPISODES_WITH_A_NAMED_SIDE [OPTION…]: as many of each in random packagings
    local side=(--perturbation named_side) packaging=(--perturbation random_packaging) first=$2
    demos finding "$3" "$first" "$1" "${@:5}"
    demos finding "$3" $((first + 250)) "$1" "${@:5}" "${packaging[@]}"
    demos finding "$4" $((first + 500)) "$1" "${@:5}" "${side[@]}"
    demos finding "$4" $((first + 750)) "$1" "${@:5}" "${side[@]}" "${packaging[@]}"
}

demonstrate() {  # TASK
    case $1 in
        restocking) demos restocking 450 2000 demos --action-noise 0.3 ;;  # a slip beside a bottle topples it
        reaching) demos reaching 306 2000 demos ;;
        finding)  # short: most of what has to be learnt is its beginning
            finding demos 2000 165 55 --late-starts 0.25
            ;;
        pouring) demos pouring 400 2000 demos --late-starts 0.25 --action-noise 0.06 ;;  # a slip while it pours spoils it
    esac
}

correct() {  # TASK FOLDER FIRST_SEED POLICY: the expert goes on from where the policy gets to
    local turns=(--policy "$4" --action-noise 0)
    if [ "$1" = finding ]; then
        finding "$2" "$3" 125 35 "${turns[@]}"
    else
        demos "$1" 250 "$3" "$2" "${turns[@]}"
    fi
}

learn() {  # DATASET RUN [SETTING…]: from the demonstrations in `folders`
    [ -d "$1" ] || activemimic dataset build "${folders[@]}" --out "$1" --fps 10 "${most[@]}"
    activemimic train "training/configs/$policy.yaml" "dataset=$1" "out=$2" "${@:3}"
}

go_on() {  # FOLDER FIRST_SEED: the rounds after the first training, from `run` and `folders` on
    for ((round = 1; round <= ROUNDS[$policy]; round++)); do
        for task in "${tasks[@]}"; do
            correct "$task" "$1$round" $(($2 + 1000 * round)) "$run/checkpoint"
            folders+=("out/$task/$1$round")
        done
        dataset=$out/dataset$round
        learn "$dataset" "$out/train$round" "start_from=$run/checkpoint"
        run=$out/train$round
    done
}

try() {  # TASK NAME [OPTION…]
    activemimic eval --task "$1" --policy "$out/published" --out "$out/evaluations/$2" --no-video "${@:3}"
    tried+=(--evaluation "$out/evaluations/$2")
}

for policy in "$@"; do
    out=out/$policy most=() settings=() tasks=("$policy") folders=()
    case $policy in
        restocking | reaching | finding | pouring)
            if [ "$BUDGET" = paper ]; then
                out=${out}_paper most=(--max-episodes "${PAPER[$policy]}") settings=(steps="${PAPER_STEPS[$policy]}")
            fi
            demonstrate "$policy"
            folders=("out/$policy/demos")
            dataset=$out/dataset run=$out/train
            learn "$dataset" "$run" "${settings[@]}"
            if [ "$BUDGET" = free ]; then
                go_on turns 5000
                case $policy in
                    restocking | finding)  # those that are tried in flashing light
                        learn "$dataset" "$out/relit" "start_from=$run/checkpoint" relight=true
                        run=$out/relit
                        ;;
                esac
            fi
            ;;
        four_tasks)  # from all that the four single ones learnt from, and from the weights of the longest task's
            [ "$BUDGET" = free ] || { echo "the paper has no budget for four_tasks" >&2; exit 2; }
            training/reproduce.sh "${TASKS[@]}"
            tasks=("${TASKS[@]}") dataset=$out/dataset run=$out/train
            for task in "${TASKS[@]}"; do
                folders+=("out/$task"/{demos,turns*})
            done
            learn "$dataset" "$run" "start_from=out/pouring/train${ROUNDS[pouring]}/checkpoint"
            go_on for_all_turns 15000
            ;;
        *) echo "unknown task '$policy': expected ${TASKS[*]} four_tasks" >&2; exit 2 ;;
    esac
    activemimic policy publish "$run/checkpoint" "$out/published" --dataset "$dataset"

    tried=()
    for task in "${tasks[@]}"; do
        prefix=
        [ "$policy" = "$task" ] || prefix=${task}_
        try "$task" "${prefix}plan"
        try "$task" "${prefix}held_out" --first-seed 1100000 --trials 100
        try "$task" "${prefix}ros" --through-ros
    done
    activemimic policy publish "$out/published" "$out/published" "${tried[@]}"
done
