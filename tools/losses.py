"""The four losses of the bundled model: what they ask of images and captions."""

import torch
import torch.nn.functional as F


def contrastive_loss(similarity, true):
    """InfoNCE with every true caption as a positive, and every true image.

    Parameters
    ----------
    similarity : torch.Tensor of shape (n_images, n_captions)
        Scaled cosines.
    true : torch.Tensor of shape (n_images, n_captions), bool
        Which caption is true of which image.
    """

    def one_way(logits, positive):
        kept = positive.any(1)
        share = positive[kept] / positive[kept].sum(1, keepdim=True)
        return -(share * logits[kept].log_softmax(1)).sum(1).mean()

    return (one_way(similarity, true) + one_way(similarity.T, true.T)) / 2


def state_loss(similarity, fit, target):
    """Let each image choose between the twins of every caption that fits it.

    The softmax over a whole and a damaged caption is the paper's ``s_pr``.

    Returns
    -------
    torch.Tensor of shape (n_images,)
        Loss of each image.
    """
    whole, damaged = similarity.chunk(2, dim=1)
    fit_whole, fit_damaged = fit.chunk(2, dim=1)
    # A whole thing has no kind of defect that a caption could get wrong.
    valid = fit_whole & (fit_damaged | (target[:, None] == 0))
    loss = F.binary_cross_entropy_with_logits(
        damaged - whole, target[:, None].expand_as(whole).float(), reduction="none"
    )
    return (loss * valid).sum(1) / valid.sum(1).clamp(min=1)


def patch_loss(logits, hit):
    """Let each patch say whether it is damaged; as those are rare, they weigh more."""
    return F.binary_cross_entropy_with_logits(
        logits, hit, pos_weight=torch.tensor(5.0, device=logits.device)
    )


def transfer_loss(images, texts, target, ridge):
    """Fit a ridge classifier to the captions' states and judge the images with it.

    Captions come whole first, then damaged. A classifier fitted to texts alone uses
    every direction in which their states differ; this asks that images differ in
    the same ones. Texts and images are centred each by their own mean: the gap
    between the two is no fault of a direction.
    """
    n, width = texts.shape
    sign = torch.ones(n, device=texts.device)
    sign[: n // 2] = -1
    X = texts - texts.mean(0)
    gram = X.T @ X
    amount = ridge * gram.diagonal().mean().detach()
    weights = torch.linalg.solve(
        gram + amount * torch.eye(width, device=texts.device), X.T @ sign
    )
    logits = 5 * (images - images.mean(0)) @ weights
    return F.binary_cross_entropy_with_logits(logits, target.float())
