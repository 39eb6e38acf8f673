"""The model that learns: softmax regression on fixed random features. Small, quick, and its confidences mean something.

One hidden layer with random weights that are never trained makes curved borders possible; what is trained on top of it
has one best solution, so that the order and the luck of training make no difference between strategies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

_HIDDEN = 200
_STEPS = 160
_RATE = 0.05
_DECAY = 1e-3


@dataclass(frozen=True, eq=False)
class RandomLayer:
    """The part that is never trained: scales the inputs, and adds random features to them."""

    mean: Floats
    scale: Floats
    weights: Floats
    offsets: Floats

    @classmethod
    def of(cls, inputs: Floats, rng: np.random.Generator) -> RandomLayer:
        """A layer for inputs like these, of shape (number, size)."""
        size = inputs.shape[1]
        weights = rng.normal(0, 1 / np.sqrt(size), (size, _HIDDEN))
        return cls(
            inputs.mean(axis=0),
            inputs.std(axis=0) + np.float32(1e-3),
            weights.astype(np.float32),
            rng.uniform(-1, 1, _HIDDEN).astype(np.float32),
        )

    def features(self, inputs: Floats) -> Floats:
        """What is trained on: shape (number, size + hidden + 1)."""
        scaled = np.clip((inputs - self.mean) / self.scale, -4, 4)
        hidden = np.maximum(scaled @ self.weights + self.offsets, 0)
        ones = np.ones((len(inputs), 1), np.float32)
        return np.concatenate([0.5 * scaled, hidden, ones], axis=1, dtype=np.float32)


def train(features: Floats, labels: Labels, classes: int) -> Floats:
    """The weights of shape (size, classes) that explain the labels best, by Adam on all examples at once.

    labels: numbers from 0 to classes - 1. The same examples give the same weights.
    """
    count, size = features.shape
    truth = np.zeros((count, classes), np.float32)
    truth[np.arange(count), labels] = 1
    weights = np.zeros((size, classes), np.float32)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, _STEPS + 1):
        slope = features.T @ (probabilities(features, weights) - truth) / np.float32(count) + _DECAY * weights
        first += 0.1 * (slope - first)
        second += 0.01 * (slope * slope - second)
        mean, spread = first / (1 - 0.9**step), second / (1 - 0.99**step)
        weights -= _RATE * (1 - 0.9 * step / _STEPS) * mean / (np.sqrt(spread) + 1e-8)
    return weights


def probabilities(features: Floats, weights: Floats) -> Floats:
    """The model's confidence in each class: shape (number, classes), each row with the sum 1."""
    raised = features @ weights
    raised -= raised.max(axis=1, keepdims=True)
    np.exp(raised, out=raised)
    raised /= raised.sum(axis=1, keepdims=True)
    return raised
