#!/bin/bash
# What wants a quiet machine, in the order of its worth: speeds of training and decoding beside other programs, and the
# timing tables that chapters read. Each part goes on where it was stopped; the same line again does what is left.
#
#   benchmarks/quiet.sh prepare     beforehand, on a busy machine: compiles, trains the models to be timed, fetches llama.cpp
#   benchmarks/quiet.sh             on a quiet one, about 20 minutes of two cores that do nothing else
#   benchmarks/quiet.sh PART...     some parts: engines train decode calibrate steps grid; compiled, which is left out
#                                   otherwise: training beside torch.compile, a minute of compiling a point
#
# llama.cpp is its build for CPUs from npm, in the cache folder; $MOELAWS_LLAMA_CPP names another one.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 HF_HUB_OFFLINE=1
python=${PYTHON:-python}
cache=${MOELAWS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/moelaws}
export TORCHINDUCTOR_CACHE_DIR=$cache/torch_compile
package=@node-llama-cpp/linux-x64@3.22.1
installed=$cache/llama.cpp/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
if [ -z "${MOELAWS_LLAMA_CPP:-}" ] && [ -d "$installed" ]; then export MOELAWS_LLAMA_CPP=$installed; fi

part() {
  echo "== $1, load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo unknown), $(date +%H:%M:%S)"
  case $1 in
  prepare)
    if [ -z "${MOELAWS_LLAMA_CPP:-}" ]; then
      mkdir -p "$cache/llama.cpp"
      npm install --silent --no-fund --no-audit --prefix "$cache/llama.cpp" "$package"
      export MOELAWS_LLAMA_CPP=$installed
    fi
    "$python" -c "
from moelaws.measuring.subjects import EXPERTS, WIDTHS, trained_model
from itertools import product
for width, experts in [*product(WIDTHS, EXPERTS), (256, 8), (256, 32)]:
    trained_model(width, experts)
    print(f'd {width}, E {experts}: trained', flush=True)"
    ;;
  engines) "$python" benchmarks/engines.py --rounds 8 ;;
  train) "$python" benchmarks/train_speed.py --rounds 5 --no-compile ;;
  compiled) "$python" benchmarks/train_speed.py --rounds 3 --out benchmarks/results/train_speed_compiled.json ;;
  decode) "$python" benchmarks/decode_compiled.py --rounds 10 ;;
  calibrate)
    for engine in compiled llama.cpp; do
      # The rows stay, too: a fit of another form needs no quiet machine.
      result=benchmarks/results/calibrated_${engine%.cpp}
      rm -f "$result.csv"
      "$python" -m moelaws.cli measure --calibrate --engine "$engine" --clock processor --json "$result.json" --out "$result.csv"
    done
    ;;
  steps)
    # Into a copy, which takes the table's place when it is whole: rows of two releases are no one machine's.
    mkdir -p _build/quiet
    copy=_build/quiet/training_steps.csv
    [ -f "$copy" ] || cp data/timings/training_steps.csv "$copy"
    "$python" benchmarks/gpu.py --parts steps --device cpu --steps-table "$copy" --out _build/quiet
    if "$python" benchmarks/whole_steps.py "$copy"; then cp "$copy" data/timings/training_steps.csv; fi
    ;;
  grid)
    # Beside the tables, whose places they take when every pass is done.
    mkdir -p _build/quiet
    rm -f _build/quiet/grid*.csv
    "$python" -m moelaws.cli measure --grid --engine compiled --clock processor --out _build/quiet/grid.csv
    cp _build/quiet/grid.csv data/timings/cpu.csv
    cp _build/quiet/grid_experts_touched.csv data/timings/experts_touched.csv
    ;;
  *) echo "quiet.sh: no part '$1'; expected prepare, engines, train, compiled, decode, calibrate, steps or grid" >&2; exit 2 ;;
  esac
}

if [ $# -eq 0 ]; then set -- engines train decode calibrate steps grid; fi
for name; do part "$name"; done
