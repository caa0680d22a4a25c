"""Names that a spec may use and what they fit, as plain tables.

The code behind them stands above this package (metrics in `evaluation`, formats in `sources`).
"""

from __future__ import annotations

from unified.specs.schema import FieldType

TEXT_LIKE: tuple[FieldType, ...] = ("text", "texts", "label", "number")
LOCATIONS: tuple[FieldType, ...] = ("boxes", "points", "keypoints", "grounded_text")
DENSE: tuple[FieldType, ...] = ("image", "mask", "segmentation", "depth", "normals")
IMAGE_INPUTS: tuple[FieldType, ...] = ("image", "mask", "segmentation", "normals")
"""What `input.images` may name; all but `image` are drawn as the image that a target of their type
becomes."""

WORDS: tuple[FieldType, ...] = ("text", "label", "grounded_text")

NUMERALS: tuple[FieldType, ...] = ("number", "text", "label")

METRICS: dict[str, tuple[FieldType, ...]] = {
    "accuracy": WORDS,
    "exact_match": WORDS,
    "vqa_accuracy": WORDS,
    "token_f1": WORDS,
    "squad": WORDS,
    "f1_binary": WORDS,
    "okvqa_accuracy": WORDS,
    "aokvqa_direct": WORDS,
    "vizwiz_accuracy": WORDS,
    "vizwiz_unanswerable": ("text", "label", "number"),
    "gqa_accuracy": WORDS,
    "gqa_consistency": WORDS,
    "gqa_validity": WORDS,
    "gqa_plausibility": WORDS,
    "gqa_distribution": WORDS,
    "nlvr2_consistency": WORDS,
    "recall_at_k": WORDS,
    "mrr": WORDS,
    "mean_rank": WORDS,
    "visdial_ndcg": WORDS,
    "retrieval": WORDS,
    "cider": WORDS,
    "bleu": WORDS,
    "rouge": WORDS,
    "meteor": WORDS,
    "spice": WORDS,
    "vist_meteor": WORDS,
    "visualcomet": WORDS,
    "visualcomet_acc50": WORDS,
    "grounding_f1": ("grounded_text", "boxes"),
    "grounded_caption_f1": ("grounded_text",),
    "situation": ("grounded_text",),
    "phrase_recall": ("boxes", "grounded_text"),
    "refcoco_accuracy": ("boxes",),
    "box_accuracy": ("boxes",),
    "box_iou": ("boxes",),
    "coco_ap": ("boxes",),
    "lvis_ap": ("boxes",),
    "keypoint_ap": ("keypoints",),
    "point_accuracy": ("points",),
    "oks": ("keypoints",),
    "mask_iou": ("mask",),
    "referring_segmentation": ("mask",),
    "miou": ("segmentation",),
    "depth_rmse": ("depth",),
    "depth_absrel": ("depth",),
    "depth_log10": ("depth",),
    "depth_delta1": ("depth",),
    "normals_angle": ("normals",),
    "normals_error": ("normals",),
    "normals_within": ("normals",),
    "normals_within_30": ("normals",),
    "psnr": ("image",),
    "ssim": ("image",),
    "image_l1": ("image",),
    "image_l2": ("image",),
    "fid": ("image",),
    "inception_score": ("image",),
    "image_cosine": ("image",),
    "clip_score": ("image",),
    "mae": NUMERALS,
    "pearson": NUMERALS,
    "mosi_acc2": NUMERALS,
    "mosi_acc5": NUMERALS,
    "mosi_acc7": NUMERALS,
    "mosi_f1": NUMERALS,
    "sims_accuracy": NUMERALS,
    "sims_f1": NUMERALS,
}
"""Metric -> the modalities that it scores."""

RANKING = frozenset({"mean_rank", "mrr", "recall_at_k", "retrieval", "visdial_ndcg", "visualcomet_acc50"})
"""Those that judge an order of the options."""

DEFAULT_METRICS: dict[FieldType, tuple[str, ...]] = {
    "text": ("exact_match",),
    "label": ("accuracy",),
    "number": ("mae", "pearson"),
    "boxes": ("box_accuracy", "box_iou"),
    "points": ("point_accuracy",),
    "keypoints": ("oks",),
    "grounded_text": ("grounding_f1", "cider"),
    "image": ("psnr", "ssim"),
    "mask": ("mask_iou",),
    "segmentation": ("miou",),
    "depth": ("depth_rmse", "depth_absrel", "depth_delta1"),
    "normals": ("normals_angle", "normals_within_30"),
}
"""The metrics of a task that names none, headline first. Boxes with labels: LABELLED_BOX_METRICS."""

LABELLED_BOX_METRICS = ("coco_ap",)

_BOXES = ("xyxy", "xywh", "cxcywh", "yxyx")
_ANY_BOXES = (*_BOXES, *(f"normalized_{name}" for name in _BOXES))
FORMATS: dict[FieldType, tuple[str, ...]] = {
    "text": ("tokens",),
    "texts": ("tokens", "list"),
    "boxes": _ANY_BOXES,
    "grounded_text": _ANY_BOXES,
    "points": ("xy", "normalized_xy"),
    "keypoints": ("coco", "normalized_coco"),
    "mask": ("png", "rle", "polygon", "bool"),
    "segmentation": ("png", "rle", "polygon"),
    "depth": ("png", "npy"),
    "normals": ("rgb", "npy"),
}
"""Field type -> its formats; types that are absent have none."""

FIELD_KEYS: dict[str, tuple[FieldType, ...]] = {
    "unit_scale": ("depth", "number", *LOCATIONS),
    "axes": ("normals",),
    "at": ("image",),
    "names": ("text", "texts", "label", "boxes", "points", "keypoints", "segmentation"),
    "map": ("text", "texts", "label", "number", "boxes", "points", "segmentation"),
    "labels": ("boxes", "points", "segmentation"),
    "image": (*LOCATIONS, "mask", "segmentation", "depth", "normals"),
}
"""Key of a field -> the types for which it means something."""

MODALITIES: dict[FieldType, tuple[FieldType, ...]] = {
    "text": ("text", "label", "number"),
    "texts": ("text", "label"),
    "label": ("label", "text"),
    "number": ("number", "text"),
    "grounded_text": ("grounded_text", "text"),
}
"""Type of `target.field` -> the modalities as which it can be read back; other types only as themselves."""
