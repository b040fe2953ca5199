"""VQGAN: pictures as grids of codes, and what writes such grids (notebook 04)."""

from .autoencoder import Config
from .model import VQGAN
from .published import load

__all__ = ["VQGAN", "Config", "load"]
