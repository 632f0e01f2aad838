#!/usr/bin/env bash
# Sinter at work: a trained model becomes a shared object that needs nothing but libc and reads real handwriting; then,
# where PyPI answers, two models that read text from a picture. `tools/dev demo` runs it after building.
# SINTER_BUILD: the build folder. Files go to build/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

sinter=$SINTER_BUILD/bin/sinter
python=build/venv/bin/python
models=tests/models
folder=build/demo
ocr_wheel=rapidocr-onnxruntime==1.4.4
mkdir -p "$folder"

# Prints the command as one would type it, then runs it.
show() {
    printf '\n$ %s\n' "${*//"$sinter"/sinter}"
    "$@"
}

title() {
    printf '\n--- %s ---\n' "$*"
}

title "A convolutional network that reads handwritten digits"
show "$sinter" inspect $models/cnn.onnx
show "$sinter" compile $models/cnn.onnx -o $folder/cnn.so
show ls -l $folder/cnn.so
show ldd $folder/cnn.so
show "$sinter" run $folder/cnn.so -i pixels=$models/digits_test_images.npy -o $folder/cnn
$python docs/examples/digits.py $models/digits_test_images.npy $models/digits_test_labels.npy $folder/cnn/logits.npy
show "$sinter" bench $folder/cnn.so --seconds=1

title "Text in a picture: PP-OCRv4"
wheel=$(find $folder -name 'rapidocr_onnxruntime-*.whl' 2>/dev/null | head -n 1)
if [ -z "$wheel" ] && ! $python -m pip download --quiet --disable-pip-version-check --no-deps -d $folder $ocr_wheel; then
    echo "PyPI does not answer, so this part is left out."
    exit 0
fi
wheel=$(find $folder -name 'rapidocr_onnxruntime-*.whl' | head -n 1)
$python -m zipfile -e "$wheel" $folder/ocr
ocr=$folder/ocr/rapidocr_onnxruntime/models
detector=$ocr/ch_PP-OCRv4_det_infer.onnx
recogniser=$ocr/ch_PP-OCRv4_rec_infer.onnx
show "$sinter" compile $detector -o $folder/detector.so
show "$sinter" compile $recogniser -o $folder/recogniser.so
show $python docs/examples/read_text.py "$sinter" $folder/detector.so $folder/recogniser.so $recogniser $folder/picture
