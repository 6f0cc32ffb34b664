#!/bin/sh
# The embedded describing model: parts of the generator as codes, a small language model, the
# projector, a folder for assets/describe. Each step goes on where it was stopped.
#   sh recipes/align_embedded.sh [FOLDER [PARTS [WARM_UP [EPOCHS]]]]
# More parts and passes make it better. The shipped weights came in stages, the rate raised again
# each time (docs/model-card-describe.md, docs/log.md); this is that in one piece, which has not
# been run as such.
set -e
out=${1:-runs/align_embedded} parts=${2:-16000} warm_up=${3:-60} epochs=${4:-6}

cadwright align extract --data generator --seed 21 --num "$parts" --depth --output_dir "$out/train" --threads 1
cadwright align extract --data generator --seed 1000014 --num 300 --depth --output_dir "$out/held_out" --threads 1
cadwright align language --output_dir "$out/language" --hidden_size 128 --num_layers 3 --num_heads 4 \
    --num_kv_heads 2 --intermediate_size 384 --steps 150 --batch_size 16 --save_every 25 --threads 1
cadwright align train --data "$out/train" --vl_model "$out/language" --output_dir "$out/run" \
    --projector depth --whole_captions --warm_up "$warm_up" --epochs "$epochs" --train_all \
    --lr 1e-3 --projector_lr 2e-4 --batch_size 16 --schedule linear
cadwright align eval --model "$out/run" --data "$out/held_out" --max_eval_samples 300 \
    --batch_size 30 --output_dir "$out/eval" --threads 1
cadwright align export --model "$out/run" --output_dir "$out/describe" --threads 1
