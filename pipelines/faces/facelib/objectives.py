"""What training makes small: a loss of pytorch-metric-learning over a batch of embeddings and their people."""

import math

from pytorch_metric_learning import distances, losses, miners
from torch import Tensor, nn

from params.train import Recipe


class Objective(nn.Module):
    """float32 [N, embedding] and int64 labels [N] to a loss; the losses over classes learn a direction per person."""

    def __init__(self, recipe: Recipe, people: int) -> None:
        super().__init__()
        self.loss = make_loss(recipe, people)
        self.miner = (
            miners.TripletMarginMiner(recipe.margin, recipe.mining, distance=distances.CosineSimilarity())
            if recipe.loss == "triplet" and recipe.mining != "all"
            else None
        )

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        if self.miner is None:
            return self.loss(embeddings, labels)
        return self.loss(embeddings, labels, self.miner(embeddings, labels))


def make_loss(recipe: Recipe, people: int) -> nn.Module:
    """CosFace (Wang et al. 2018), ArcFace (Deng et al. 2019), softmax over cosines (Zhai & Wu 2019) or triplets."""
    if recipe.loss == "cosface":
        return losses.CosFaceLoss(people, recipe.embedding, margin=recipe.margin, scale=recipe.scale)
    if recipe.loss == "arcface":
        return losses.ArcFaceLoss(people, recipe.embedding, margin=math.degrees(recipe.margin), scale=recipe.scale)
    if recipe.loss == "softmax":
        return losses.NormalizedSoftmaxLoss(people, recipe.embedding, temperature=1 / recipe.scale)
    return losses.TripletMarginLoss(recipe.margin, distance=distances.CosineSimilarity())
