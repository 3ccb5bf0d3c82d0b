"""Networks: encoders by name, and the parts that methods put around them."""

from withhold.nets.audiovisual import AudioVisualEncoder
from withhold.nets.convnet import ConvNet
from withhold.nets.decoder import Decoder
from withhold.nets.discriminator import Discriminator
from withhold.nets.encoder import Encoder
from withhold.nets.generator import Generator
from withhold.nets.heads import ChannelWise, mlp
from withhold.nets.memory import ImagePool, MemoryBank, Queue
from withhold.nets.registry import build, names, takes
from withhold.nets.resnet import ResNet
from withhold.nets.sounds import AudioEncoder
from withhold.nets.statistics import refresh_statistics
from withhold.nets.teacher import Teacher, cosine_momentum, ema_update
from withhold.nets.vit import Transformer, ViT, positions

__all__ = [
    "AudioEncoder", "AudioVisualEncoder", "ChannelWise", "ConvNet", "Decoder", "Discriminator", "Encoder", "Generator",
    "ImagePool", "MemoryBank", "Queue", "ResNet", "Teacher", "Transformer", "ViT", "build", "cosine_momentum",
    "ema_update", "mlp", "names", "positions", "refresh_statistics", "takes",
]  # fmt: skip
