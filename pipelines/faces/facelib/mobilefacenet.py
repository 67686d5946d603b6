"""MobileFaceNet: a million parameters for faces on phones.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", 2018,
table 1: bottlenecks of MobileNetV2 with PReLU, fast downsampling at the start, and, in place of global average
pooling, a global depthwise convolution (section 3.1), which weighs each place of the face by itself.
"""

from torch import Tensor, nn

STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, channels, repeats, stride of the first: table 1."""


def _conv(channels: int, out: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out)
    )


class Bottleneck(nn.Module):
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without activation; a shortcut where shapes agree."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.body = nn.Sequential(
            _conv(channels, wide, 1),
            nn.PReLU(wide),
            _conv(wide, wide, 3, stride, 1, groups=wide),
            nn.PReLU(wide),
            _conv(wide, out, 1),
        )
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


class MobileFaceNet(nn.Sequential):
    """float32 [N, 3, size, size] to float32 [N, embedding]; `size` is a multiple of 16 px, 112 in the paper."""

    def __init__(self, embedding: int, size: int) -> None:
        layers: list[nn.Module] = [_conv(3, 64, 3, 2, 1), nn.PReLU(64), _conv(64, 64, 3, 1, 1, groups=64), nn.PReLU(64)]
        channels = 64
        for expansion, out, repeats, stride in STAGES:
            for index in range(repeats):
                layers.append(Bottleneck(channels, out, stride if index == 0 else 1, expansion))
                channels = out
        super().__init__(
            *layers,
            _conv(channels, 512, 1),
            nn.PReLU(512),
            _conv(512, 512, size // 16, groups=512),
            _conv(512, embedding, 1),
            nn.Flatten(),
        )
