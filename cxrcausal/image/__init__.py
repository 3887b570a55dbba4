"""The image mechanism: RadiT, a rectified-flow transformer, as one more structural assignment."""

from cxrcausal.image.checkpoint import save_image_mechanism
from cxrcausal.image.guidance import Groups, Guidance
from cxrcausal.image.mechanism import RectifiedFlow, load_image_mechanism
from cxrcausal.image.network.radit import RadiT
from cxrcausal.image.path import RectifiedPath
from cxrcausal.image.recipe import ImageRecipe, list_recipes, load_recipe
from cxrcausal.image.solver import Solver
from cxrcausal.image.training.nats import conditional_bound
from cxrcausal.image.training.trainer import Trainer, held_out_loss
from cxrcausal.image.transport import NoiseTransport

__all__ = [
    "Groups",
    "Guidance",
    "ImageRecipe",
    "NoiseTransport",
    "RadiT",
    "RectifiedFlow",
    "RectifiedPath",
    "Solver",
    "Trainer",
    "conditional_bound",
    "held_out_loss",
    "list_recipes",
    "load_image_mechanism",
    "load_recipe",
    "save_image_mechanism",
]
