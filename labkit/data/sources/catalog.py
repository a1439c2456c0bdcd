"""The datasets that the course knows by name: their official files, as in data/README.md, and their readers."""

from functools import partial

from labkit.data.sources import formats
from labkit.data.sources.files import File, Source


def _idx_source(
    folder: str, megabytes: int, classes: tuple[str, ...], urls: tuple[str, ...], *checksums: str
) -> Source:
    """The four files of a set in the format of MNIST; checksums in the order of `names`."""
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    files = []
    for name, sha256 in zip(names, checksums, strict=True):
        place, served = f"{folder}/raw/{name}", tuple(f"{url}{name}.gz" for url in urls)
        files.append(File(f"{place}.gz", sha256, megabytes, served, unpacked=(place,)))
    return Source(partial(formats.mnist, classes), train=tuple(files[:2]), test=tuple(files[2:]))


def _emnist_files(split: str) -> tuple[File, ...]:
    """One archive holds everything; what torchvision unpacks from it serves as well."""
    sha256 = "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"
    hosts = ("biometrics.nist.gov", "www.itl.nist.gov/iaui/vip")
    urls = tuple(f"https://{host}/cs_links/EMNIST/gzip.zip" for host in hosts)
    members = [f"emnist-balanced-{split}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    unpacked = [tuple(f"EMNIST/raw/{form}" for form in (m, f"{m}.gz", f"gzip/{m}.gz")) for m in members]
    return tuple(File("EMNIST/raw/gzip.zip", sha256, 600, urls, places) for places in unpacked)


def _cifar_source(number: int, folder: str, sha256: str) -> Source:
    archive = f"cifar-{number}-python.tar.gz"
    files = (File(archive, sha256, 180, (f"https://www.cs.toronto.edu/~kriz/{archive}",), (folder,)),)
    return Source(partial(formats.cifar, f"CIFAR{number}"), train=files, test=files)


def _omniglot_files(part: str, sha256: str) -> tuple[File, ...]:
    hosts = ("raw.githubusercontent.com/brendenlake/omniglot/master", "github.com/brendenlake/omniglot/raw/master")
    urls = tuple(f"https://{host}/python/images_{part}.zip" for host in hosts)
    return (File(f"omniglot-py/images_{part}.zip", sha256, 12, urls, (f"omniglot-py/images_{part}",)),)


_OLIVETTI = File(
    "olivettifaces.mat",
    "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794",
    20,
    ("https://ndownloader.figshare.com/files/5976027",),
)
_LFW = File(
    "lfw_home/lfw-funneled.tgz",
    "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
    260,
    ("https://ndownloader.figshare.com/files/5976015",),
    ("lfw-py/lfw-funneled.tgz", "lfw_home/lfw_funneled", "lfw-py/lfw_funneled"),
)

SOURCES: dict[str, Source] = {
    "digits": Source(formats.digits),
    "mnist": _idx_source(
        "MNIST",
        12,
        tuple("0123456789"),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion_mnist": _idx_source(
        "FashionMNIST",
        30,
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "kmnist": _idx_source(
        "KMNIST",
        20,
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
    "emnist": Source(formats.emnist, train=_emnist_files("train"), test=_emnist_files("test")),
    "cifar10": _cifar_source(
        10, "cifar-10-batches-py", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    ),
    "cifar100": _cifar_source(
        100, "cifar-100-python", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    ),
    "omniglot": Source(
        formats.omniglot,
        train=_omniglot_files("background", "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
        test=_omniglot_files("evaluation", "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
    ),
    "olivetti": Source(formats.olivetti, train=(_OLIVETTI,), test=(_OLIVETTI,)),
    "lfw": Source(formats.lfw, train=(_LFW,), test=(_LFW,)),
}
