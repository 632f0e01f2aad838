"""Shows what the digit models answered: digits.py PIXELS.npy LABELS.npy LOGITS.npy draws the first images with the answer
under each, and counts how many of all answers are right."""
import sys

import numpy

pixels, labels, logits = (numpy.load(path) for path in sys.argv[1:4])
answers = logits.argmax(axis=1)
shades = " .:-=+*#%@"
shown = 8
for row in range(pixels.shape[1]):
    print("  " + "  ".join("".join(shades[min(9, int(p * 10 / 17))] * 2 for p in image[row]) for image in pixels[:shown]))
print("  " + "  ".join(f"{f'reads {answer}':^16}" for answer in answers[:shown]))
right = int((answers == labels).sum())
print(f"  {right} of {len(labels)} held-out images are read right ({100 * right / len(labels):.2f} %)")
