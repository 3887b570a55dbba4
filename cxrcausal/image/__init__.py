"""The image mechanism: RadiT, a rectified-flow transformer, as one more structural assignment."""

from cxrcausal.image.checkpoint import save_image_mechanism
from cxrcausal.image.guidance import Groups, Guidance
from cxrcausal.image.loading import ImageFlow, build_image_mechanism, load_image_mechanism
from cxrcausal.image.mechanism import RectifiedFlow
from cxrcausal.image.network.radit import RadiT
from cxrcausal.image.path import RectifiedPath
from cxrcausal.image.recipe import ImageRecipe, list_recipes, load_recipe
from cxrcausal.image.solver import Solver
from cxrcausal.image.training.nats import conditional_bound
from cxrcausal.image.training.trainer import Trainer, held_out_loss
from cxrcausal.image.transport import NoiseTransport
from cxrcausal.image.wavelet import WaveletFlow

__all__ = [
    "Groups",
    "Guidance",
    "ImageFlow",
    "ImageRecipe",
    "NoiseTransport",
    "RadiT",
    "RectifiedFlow",
    "RectifiedPath",
    "Solver",
    "Trainer",
    "WaveletFlow",
    "build_image_mechanism",
    "conditional_bound",
    "held_out_loss",
    "list_recipes",
    "load_image_mechanism",
    "load_recipe",
    "save_image_mechanism",
]
