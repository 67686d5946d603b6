"""What make lfw takes for LFW's archives is what the libraries in the stage image state."""

import pytest
from lfw.archive import ARCHIVES


def test_digests_are_those_of_torchvision_and_scikit_learn() -> None:
    torchvision = pytest.importorskip("torchvision.datasets.lfw", reason="the stages' environment is needed")
    sklearn = pytest.importorskip("sklearn.datasets._lfw", reason="the stages' environment is needed")
    for variant, (_, name, md5) in torchvision._LFW.file_dict.items():
        assert (ARCHIVES[variant].name, ARCHIVES[variant].digests["md5"]) == (name, md5)
    for variant, theirs in (("original", sklearn.ARCHIVE), ("funneled", sklearn.FUNNELED_ARCHIVE)):
        ours = ARCHIVES[variant]
        assert (ours.name, ours.digests["sha256"], ours.urls[0]) == (theirs.filename, theirs.checksum, theirs.url)
