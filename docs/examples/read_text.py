"""Reads a line of text from a picture drawn on the spot, with the detector and the recogniser of PP-OCRv4 that
`sinter compile` made: read_text.py SINTER DETECTOR.so RECOGNISER.so RECOGNISER.onnx FOLDER [TEXT].

The detector gives a map of where text is, the recogniser a distribution over characters for each step along the line;
the most likely characters, without repeats and blanks, are the text (connectionist temporal classification)."""
import pathlib
import subprocess
import sys

import numpy
import onnx
from PIL import Image, ImageDraw, ImageFont


def draw(text, path):
    """Dark text on light paper, a little noise; RGB."""
    font = ImageFont.load_default(size=34)
    box = font.getbbox(text)
    picture = Image.new("RGB", (box[2] + 120, 160), (244, 240, 228))
    ImageDraw.Draw(picture).text((60, 56), text, font=font, fill=(32, 40, 64))
    pixels = numpy.asarray(picture, dtype=numpy.float32)
    pixels = (pixels + numpy.random.default_rng(0).normal(0, 6, pixels.shape)).clip(0, 255)
    picture = Image.fromarray(pixels.astype(numpy.uint8))
    picture.save(path)
    return picture


def run(sinter, artifact, pixels, folder):
    """One run of an artifact on float pixels [1,3,H,W]; the output as an array."""
    numpy.save(folder / "x.npy", pixels.astype(numpy.float32))
    outputs = folder / pathlib.Path(artifact).stem
    subprocess.run([sinter, "run", artifact, "-i", f"x={folder / 'x.npy'}", "-o", outputs], check=True, stdout=subprocess.DEVNULL)
    (output,) = outputs.iterdir()
    return numpy.load(output)


def planes(picture, mean, deviation):
    """[1,3,H,W] in the order blue, green, red, as the models were trained."""
    pixels = numpy.asarray(picture, dtype=numpy.float32)[:, :, ::-1] / 255
    return ((pixels - mean) / deviation).transpose(2, 0, 1)[None]


def find_line(sinter, detector, picture, folder):
    """The box around what the detector calls text: left, top, right, bottom."""
    width, height = (max(32, round(size / 32) * 32) for size in picture.size)
    pixels = planes(picture.resize((width, height)), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    text = run(sinter, detector, pixels, folder)[0, 0] > 0.3
    if not text.any():
        sys.exit("the detector found no text")
    rows, columns = numpy.flatnonzero(text.any(axis=1)), numpy.flatnonzero(text.any(axis=0))
    margin = 0.4 * (rows[-1] - rows[0] + 1)  # the map marks the core of the line
    x, y = picture.width / width, picture.height / height
    return (
        max(0, (columns[0] - margin) * x),
        max(0, (rows[0] - margin) * y),
        min(picture.width, (columns[-1] + 1 + margin) * x),
        min(picture.height, (rows[-1] + 1 + margin) * y),
    )


def characters(model):
    """Class 0 is the blank, the last is the space; those between are in the model's metadata."""
    (text,) = [entry.value for entry in onnx.load(model).metadata_props if entry.key == "character"]
    return [""] + text.split("\n") + [" "]


def main():
    sinter, detector, recogniser, model, folder = sys.argv[1:6]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    picture = draw(sys.argv[6] if len(sys.argv) > 6 else "Sinter reads this line of text", folder / "picture.png")
    line = picture.crop(tuple(round(edge) for edge in find_line(sinter, detector, picture, folder)))
    line = line.resize((round(line.width * 48 / line.height), 48))
    steps = run(sinter, recogniser, planes(line, 0.5, 0.5), folder)[0]
    names, best = characters(model), steps.argmax(axis=1)
    kept = [i for i in range(len(best)) if best[i] and (i == 0 or best[i] != best[i - 1])]
    print(f"  picture: {folder / 'picture.png'}, {picture.width} x {picture.height}; line: {line.width} x {line.height}")
    print(f"  text:    {''.join(names[best[i]] for i in kept)!r}, probability {steps[kept, best[kept]].mean():.3f}")


main()
