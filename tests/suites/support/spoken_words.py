"""Spoken words to measure a keyword model with, where no recordings are at hand: synthesised, many voices, and some noise.

The synthesiser comes in the wheel espeakng-loader, which is an installed package or is downloaded. The same clips every time. Used
by tests/suites/long/compress_language.py; not a suite itself.
"""

import ctypes
import importlib.util
import pathlib
import subprocess
import sys
import zipfile

import numpy as np

WHEEL = "espeakng-loader==0.2.4"
RATE = 16000
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "bird", "house", "seven", "happy", "tree", "marvin")
VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us+f2", "en-us+f3", "en-us+f4", "en-gb+f5", "en-us+m3", "en-us+m7", "en-gb+m5",
          "en-us+f1", "en-us+m1", "en-us+m4")
SYNCHRONOUS, RATE_PARAMETER, PITCH_PARAMETER, RANGE_PARAMETER = 2, 1, 3, 4


def find(folder):
    """The folder of the package; None where it can't be had. Downloads go to `folder`."""
    package = importlib.util.find_spec("espeakng_loader")
    if package and package.origin:
        return pathlib.Path(package.origin).parent
    if not (folder / "espeakng_loader").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        if subprocess.run(command, capture_output=True).returncode != 0:
            return None
        for wheel in folder.glob("espeakng_loader*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    return folder / "espeakng_loader" if (folder / "espeakng_loader").exists() else None


class Synthesiser:
    def __init__(self, package):
        self.library = ctypes.CDLL(str(package / "libespeak-ng.so"))
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, str(package / "espeak-ng-data").encode(), 0)
        if self.rate <= 0:
            raise RuntimeError("espeak-ng can't read its data")
        self.parts = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self.callback = kind(self.hear)
        self.library.espeak_SetSynthCallback(self.callback)

    def hear(self, samples, count, _events):
        if samples and count > 0:
            self.parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, word, voice, speed, pitch):
        """At 16 kHz, without the silence around it, -1 to 1."""
        self.parts = []
        self.library.espeak_SetVoiceByName(voice.encode())
        for parameter, value in ((RATE_PARAMETER, speed), (PITCH_PARAMETER, pitch), (RANGE_PARAMETER, 50)):
            self.library.espeak_SetParameter(parameter, value, 0)
        text = word.encode() + b"\0"
        self.library.espeak_Synth(text, len(text), 0, 0, 0, 1, None, None)
        self.library.espeak_Synchronize()
        wave = np.concatenate(self.parts).astype(np.float64) / 32768
        loud = np.flatnonzero(np.abs(wave) > 0.01)
        wave = wave[loud[0] : loud[-1] + 1]
        return np.interp(np.arange(int(len(wave) * RATE / self.rate)) * self.rate / RATE, np.arange(len(wave)), wave)


def clips(package, count):
    """f32[count, 16000]: a word somewhere in each second, at a loudness of its own, in noise; a twentieth is noise alone."""
    synthesiser = Synthesiser(package)
    random = np.random.default_rng(20)
    result = np.zeros((count, RATE))
    for index in range(count):
        noise = random.normal(size=RATE) * 10 ** random.uniform(-4, -2)
        speed, pitch, gain = int(random.integers(110, 190)), int(random.integers(25, 80)), random.uniform(0.2, 0.9)
        word, voice = WORDS[int(random.integers(len(WORDS)))], VOICES[int(random.integers(len(VOICES)))]
        if index % 20 != 19:
            wave = synthesiser.say(word, voice, speed, pitch)[:RATE]
            start = int(random.integers(0, RATE - len(wave) + 1))
            result[index, start : start + len(wave)] = wave / np.abs(wave).max() * gain
        result[index] += noise
    return np.clip(result, -1, 1).astype(np.float32)
