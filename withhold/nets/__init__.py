"""Networks: encoders by name, and the modules that methods add to them."""

from withhold.nets.audiovisual import AudioVisualEncoder
from withhold.nets.convnet import ConvNet
from withhold.nets.decoder import Decoder
from withhold.nets.discriminator import Discriminator
from withhold.nets.efficientnet import EfficientNetLite0
from withhold.nets.encoder import Encoder, ImageEncoder, PixelEncoder
from withhold.nets.features import averaged, batches, features, frozen, rows
from withhold.nets.fineconv import FineConv
from withhold.nets.generator import Generator, Refiner
from withhold.nets.heads import ChannelWise, Prototypes, mlp
from withhold.nets.lenet import LeNet
from withhold.nets.memory import ImagePool, MemoryBank, Queue
from withhold.nets.perceptron import Perceptron
from withhold.nets.pixelconv import PixelConv
from withhold.nets.pooling import POOLINGS, Pooled, pair_whitening, whitening
from withhold.nets.pyramid import Pyramid, stage_maps
from withhold.nets.recurrent import Continuation, Recurrent
from withhold.nets.registry import about, build, has_pretrained, kind, names, pretrained_size, register, takes
from withhold.nets.resnet import ResNet
from withhold.nets.sounds import AudioEncoder
from withhold.nets.split import SplitConvNet
from withhold.nets.stages import as_maps, maps_at, stage_outputs
from withhold.nets.statistics import HeldStatistics, hold_statistics, refresh_statistics
from withhold.nets.teacher import Teacher, cosine_momentum
from withhold.nets.text import TextEncoder, TextTransformer, WordVectors
from withhold.nets.tracking import TEMPERATURE, at_pixels, bumps, centres, pointer, propagate, track
from withhold.nets.video import VideoEncoder
from withhold.nets.vit import Transformer, ViT, positions

__all__ = [
    "POOLINGS", "TEMPERATURE", "AudioEncoder", "AudioVisualEncoder", "ChannelWise", "Continuation", "ConvNet",
    "Decoder", "Discriminator", "EfficientNetLite0", "Encoder", "FineConv", "Generator", "HeldStatistics",
    "ImageEncoder", "ImagePool", "LeNet", "MemoryBank", "Perceptron", "PixelConv", "PixelEncoder", "Pooled",
    "Prototypes", "Pyramid", "Queue", "Recurrent", "Refiner", "ResNet", "SplitConvNet", "Teacher", "TextEncoder",
    "TextTransformer", "Transformer", "ViT", "VideoEncoder", "WordVectors", "about", "as_maps", "at_pixels",
    "averaged", "batches", "build", "bumps", "centres", "cosine_momentum", "features", "frozen", "has_pretrained",
    "hold_statistics", "kind", "maps_at", "mlp", "names", "pair_whitening", "pointer", "positions", "propagate",
    "pretrained_size", "refresh_statistics", "register", "rows", "stage_maps", "stage_outputs", "takes", "track",
    "whitening",
]  # fmt: skip
