"""Each public format is read from tiny files of it, and the census data become images by the paper's recipe."""

import gzip
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import datasets
from datasets import census, formats

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_npz(tmp_path):
    x, y = pixels(6, 5, 4), np.arange(6)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    found = datasets.find("mine", tmp_path)
    assert found.x_train.shape == (6, 5, 4, 1)
    np.testing.assert_allclose(found.x_test, x[:2, ..., None] / 255, rtol=1e-6)
    np.savez(tmp_path / "poor.npz", x_train=x)
    with pytest.raises(formats.FormatError, match=r"has no x_test, y_test, y_train: it holds x_train"):
        datasets.find("poor", tmp_path)


def test_samples_are_drawn_from_the_training_rows_alone(tmp_path):
    x, y = pixels(50, 2, 2), np.arange(50)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = datasets.find("mine", tmp_path, samples=7)
    assert len(found.x_train) == 7
    assert len(found.x_test) == 50
    np.testing.assert_allclose(found.x_train[..., 0], x[found.y_train] / 255, rtol=1e-6)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("home", ["fashion_mnist", "FashionMNIST/raw"])
def test_idx(tmp_path, ending, home):
    folder = tmp_path / home
    folder.mkdir(parents=True)
    x, y = pixels(9, 28, 28), np.arange(9, dtype=np.uint8)
    for part, rows in (("train", slice(0, 6)), ("t10k", slice(6, 9))):
        write_idx(folder / f"{part}-images-idx3-ubyte{ending}", x[rows])
        write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", y[rows])
    found = datasets.find("fashion_mnist", tmp_path)
    np.testing.assert_allclose(found.x_train[..., 0], x[:6] / 255, rtol=1e-6)
    assert found.y_test.tolist() == [6, 7, 8]
    with pytest.raises(datasets.MissingDataError, match=r"mnist: neither in .* as mnist\.npz or a folder 'mnist'"):
        datasets.find("mnist", tmp_path)


def test_broken_idx(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(b"\x00\x00\x0b\x01")
    with pytest.raises(formats.FormatError, match="no idx file of bytes"):
        formats.read_idx(path)
    write_idx(path, pixels(4, 2))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(formats.FormatError, match=r"shape \(4, 2\) and holds 7 bytes"):
        formats.read_idx(path)


def write_batch(path, rows, labels, key):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({b"data": rows, key: labels, b"batch_label": b"one"}, protocol=2))


def test_cifar(tmp_path):
    rows = pixels(12, 3072)
    for number in range(1, 6):
        write_batch(
            tmp_path / "cifar-10-batches-py" / f"data_batch_{number}",
            rows[2 * number - 2 : 2 * number],
            [number, 0],
            b"labels",
        )
    write_batch(tmp_path / "cifar-10-batches-py" / "test_batch", rows[10:], [7, 8], b"labels")
    found = datasets.find("cifar10", tmp_path)
    assert found.x_train.shape == (10, 32, 32, 3)
    assert found.y_train[::2].tolist() == [1, 2, 3, 4, 5]
    red = rows[0, :1024].reshape(32, 32)
    np.testing.assert_allclose(found.x_train[0, :, :, 0], red / 255, rtol=1e-6)

    write_batch(tmp_path / "cifar-100-python" / "train", rows[:10], list(range(90, 100)), b"fine_labels")
    write_batch(tmp_path / "cifar-100-python" / "test", rows[10:], [7, 8], b"fine_labels")
    assert datasets.find("cifar100", tmp_path).y_train.max() == 99


class Malicious:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_a_pickle_may_hold_arrays_alone(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({b"data": Malicious()}, protocol=2))
    with pytest.raises(formats.FormatError, match=r"asks for (posix|nt)\.system: expected nothing but arrays"):
        formats.read_pickled_batch(path)
    path.write_bytes(pickle.dumps([1], protocol=2))
    with pytest.raises(formats.FormatError, match="holds a list, expected a dictionary"):
        formats.read_pickled_batch(path)


def test_matlab(tmp_path):
    x = pixels(32, 32, 3, 4)
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": x, "y": np.array([[1], [10], [9], [2]], np.uint8)})
    found = datasets.find("svhn", tmp_path)
    assert found.y_train.tolist() == [1, 0, 9, 2]
    np.testing.assert_allclose(found.x_train[1], x[..., 1] / 255, rtol=1e-6)


@pytest.fixture
def pictures():
    return pytest.importorskip("PIL.Image")


def test_folders_of_images_by_class(tmp_path, pictures):
    for label, name in enumerate(["Forest", "River"]):
        (tmp_path / "EuroSAT_RGB" / name).mkdir(parents=True)
        for number in range(10):
            picture = pictures.fromarray(np.full((8, 8, 3), 100 * label + number, np.uint8))
            picture.save(tmp_path / "EuroSAT_RGB" / name / f"{number}.png")
    found = datasets.find("eurosat", tmp_path)
    assert found.x_train.shape == (18, 8, 8, 3)
    assert sorted(found.y_test.tolist()) == [0, 1]
    assert ((found.x_train[:, 0, 0, 0] * 255 > 50) == (found.y_train == 1)).all()


def test_jpeg_archive(tmp_path, pictures):
    import io

    files = []
    for value in (10, 200):
        file = io.BytesIO()
        pictures.fromarray(np.full((32, 32, 3), value, np.uint8)).save(file, "JPEG")
        files.append(file.getvalue())
    ends = np.cumsum([len(file) for file in files])
    data = np.frombuffer(b"".join(files), np.uint8)
    parts = {f"{name}_{part}": value for part in ("train", "test") for name, value in (("jpeg", data), ("end", ends))}
    np.savez(tmp_path / "cifar10_jpeg.npz", **parts, y_train=[3, 4], y_test=[3, 4])
    found = datasets.find("cifar10", tmp_path)
    np.testing.assert_allclose(found.x_train[:, 0, 0, 0] * 255, [10, 200], atol=2)


CATEGORIES = {
    "workclass": 8,
    "education": 16,
    "marital-status": 7,
    "occupation": 14,
    "relationship": 6,
    "race": 5,
    "native-country": 41,
}


def census_rows(n_rows):
    """As many of each column's categories as the published data have; the countries' counts go down."""
    columns = {name: RNG.integers(0, 90, n_rows) for name in (*census.NUMERIC, "education-num")}
    for name, n_categories in CATEGORIES.items():
        values = [f"{name}-{number}" for number in range(n_categories)] + ["?"]
        weights = np.linspace(2, 1, len(values)) if name == "native-country" else np.ones(len(values))
        columns[name] = [*values, *RNG.choice(values, n_rows - len(values), p=weights / weights.sum())]
    columns["native-country"] = sorted(columns["native-country"])
    columns["sex"] = ["Male", "Female"] * (n_rows // 2)
    columns["income"] = [" <=50K", " >50K"] * (n_rows // 2)
    return pd.DataFrame(columns)[[*census.COLUMNS, "income"]]


def test_census_as_images(tmp_path):
    train, test = census_rows(400), census_rows(200)
    train.to_csv(tmp_path / "adult.data", header=False, index=False)
    test["income"] += "."
    (tmp_path / "adult.test").write_text("|1x3 Cross validator\n" + test.to_csv(header=False, index=False) + "\n")
    found = datasets.find("adult", tmp_path)
    assert found.x_train.shape == (400, 10, 10, 1)
    assert found.x_test.shape == (200, 10, 10, 1)
    assert found.y_train.tolist() == [0, 1] * 200
    assert found.y_test.tolist() == [0, 1] * 100
    assert found.x_train.min() == 0
    assert found.x_train.max() == 1
    # Columns are scrambled, the same ones in each part: some pixel tells who is female.
    is_female = (train["sex"] == "Female").to_numpy()
    tells = [(found.x_train.reshape(400, 100)[:, column] == is_female).all() for column in range(100)]
    assert sum(tells) == 1
    other = datasets.find("adult", tmp_path, seed=1)
    assert (np.sort(other.x_train.reshape(400, 100)) == np.sort(found.x_train.reshape(400, 100))).all()
    assert not (other.x_train == found.x_train).all()


def test_rare_countries_missing_values_and_men_have_no_column():
    frame = census_rows(600)
    kept = census._kept_categories(frame, "native-country")
    rarest = frame["native-country"].value_counts().drop("?").nsmallest(3)
    assert len(kept) == 38
    assert "?" not in kept
    assert frame["native-country"].value_counts()[kept].min() >= rarest.max()
    assert census._kept_categories(frame, "sex") == ["Female"]
    with pytest.raises(ValueError, match=r"the frame gives \d+ columns, expected 100"):
        census.as_images(frame[frame["workclass"] != "workclass-3"])


def test_with_header_and_packed(tmp_path):
    for part in ("train", "test"):
        census_rows(200).to_csv(tmp_path / f"adult_{part}.csv.gz", index=False)
    assert datasets.find("adult", tmp_path).x_train.shape == (200, 10, 10, 1)


@pytest.mark.parametrize("test_rows_first", [False, True])
def test_census_from_openml(monkeypatch, test_rows_first):
    train, test = census_rows(400), census_rows(200)
    train.loc[0, ["age", "fnlwgt"]] = census.FIRST_TRAINING_ROW
    train["income"], test["income"] = ">50K", "<=50K"
    both = pd.concat([test, train] if test_rows_first else [train, test]).replace("?", None)
    bunch = SimpleNamespace(data=both.drop(columns="income"), target=both["income"].astype("category"))
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: bunch)
    monkeypatch.setattr(census, "N_TRAINING_ROWS", 400)
    found = datasets.find("adult", download=True)
    assert found.y_train.tolist() == [1] * 400
    assert found.y_test.tolist() == [0] * 200
    assert found.x_train.shape == (400, 10, 10, 1)


def test_download(monkeypatch):
    import keras

    parts = ((pixels(5, 28, 28), np.arange(5)), (pixels(2, 28, 28), np.arange(2)))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: parts)
    assert datasets.find("mnist", download=True).x_train.shape == (5, 28, 28, 1)
    with pytest.raises(
        datasets.MissingDataError, match=r"no folder was given \(--data FOLDER\).*--download fetches it"
    ):
        datasets.find("mnist")
    with pytest.raises(datasets.MissingDataError, match=r"svhn.*published at ufldl\.stanford\.edu/housenumbers\.$"):
        datasets.find("svhn", download=True)


def test_digits_need_no_folder():
    found = datasets.load(None, "mnist", samples=100)
    assert found.x_train.shape == (100, 8, 8, 1)
    assert found.x_train.max() == 1
