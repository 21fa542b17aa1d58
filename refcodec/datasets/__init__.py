"""Multi-view datasets: static scenes and sequences in the layouts of docs/datasets.md."""
from refcodec.datasets.checks import check_images, find_image_problems
from refcodec.datasets.layout import FrameSelection
from refcodec.datasets.loading import load_dataset
from refcodec.datasets.model import Dataset, DatasetFrame, Split, View

__all__ = ["Dataset", "DatasetFrame", "FrameSelection", "Split", "View", "check_images", "find_image_problems",
           "load_dataset"]
