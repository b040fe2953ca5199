"""The EfficientNet-Lite image tower of ``pocket`` and of the judge.

Dims: B batch, D embedding, H/W pixels.
"""

import torch
from torch import Tensor, nn


class EfficientNetTower(nn.Module):
    """EfficientNet-Lite with two ways into the space, added: (B, 3, H, W) -> (B, D).

    ``proj`` maps the 1,280 features; ``classes`` adds, for each of the 1,000 ImageNet
    classes, its word vector weighted by the class probability (ConSE, Norouzi 2014);
    "effnet2", the judge, has only the first.
    """

    names = {"effnet": "tf_efficientnet_lite0", "effnet2": "tf_efficientnet_lite2"}

    def __init__(self, c):
        super().__init__()
        import timm

        count = 1000 if c.vision == "effnet" else 0
        self.trunk = timm.create_model(self.names[c.vision], num_classes=count)
        self.proj = nn.Linear(1280, c.embed)
        self.classes = nn.Linear(1000, c.embed, bias=False) if count else None
        self.sharpness = nn.Parameter(torch.tensor(1.0))  # of the class probabilities
        self.trunk.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)  # the same, but faster
        x = self.trunk.forward_features(x)
        features = self.trunk.forward_head(x, pre_logits=True)  # (B, 1280)
        out = self.proj(features.float())
        if self.classes is None:
            return out
        logits = self.trunk.classifier(features).float()  # (B, 1000)
        return out + self.classes((self.sharpness * logits).softmax(-1))
