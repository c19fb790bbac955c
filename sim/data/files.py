"""Where raw files are looked for, and how they are downloaded when they are nowhere."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch

from core.errors import UserError

ENVIRONMENT_VARIABLE = "SIM_DATA_DIR"


@dataclass(frozen=True)
class Download:
    """A publisher's file and the checksum the publisher gives for it (`md5:...`)."""

    url: str
    checksum: str

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def cache_folder() -> Path:
    """The user's cache folder for data sets; downloads are kept here.

    Raises:
        UserError: The user has no home folder.
    """
    folder = Path(pooch.os_cache("forward-ofa-sim"))
    if not folder.is_absolute():
        raise UserError("there is no home folder to keep files in: set $HOME, or $SIM_CACHE_DIR and $SIM_DATA_DIR")
    return folder


def search_folders(data_dir: Path | None) -> list[Path]:
    """The folders in which raw files are looked for, in that order.

    Raises:
        UserError: `data_dir` is given but is not a folder.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data-dir {data_dir} is not a folder; name the folder that holds the raw files")
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    folders = [data_dir, Path(named) if named else None, cache_folder()]
    return [folder for folder in folders if folder is not None]


def locate(
    dataset: str, names: Sequence[str], data_dir: Path | None, *, home: str, download: Download | None = None
) -> Path:
    """The first of `names` that exists in the first folder that has any, else a checked download.

    A file found locally is used as it is: the checksum protects downloads. A name may be a path below the
    folder, `ml-1m/ratings.dat`; its first part may then be the searched folder itself.

    Args:
        dataset: Name of the data set, for messages.
        names: Acceptable file names, the preferred one first.
        data_dir: The folder given on the command line, if any.
        home: Page on which a person can get the files.
        download: What to fetch when nothing is found; None where the publisher gives no checksum.

    Raises:
        UserError: Nothing was found, and there is nothing to download or the download failed.
    """
    folders = search_folders(data_dir)
    for folder in folders:
        for name in names:
            below = Path(name)
            candidates = [folder / below]
            if len(below.parts) > 1 and folder.resolve().name == below.parts[0]:
                candidates.append(folder.joinpath(*below.parts[1:]))
            for path in candidates:
                if path.is_file():
                    return path

    if download is None:
        reason = "it is not downloaded, because its publisher gives no checksum"
    else:
        try:
            return Path(
                pooch.retrieve(
                    download.url, known_hash=download.checksum, fname=download.file_name, path=cache_folder()
                )
            )
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
            reason = f"downloading {download.url} failed: {' '.join(str(error).split())}"
    places = ", ".join(str(folder) for folder in folders)
    raise UserError(
        f"dataset {dataset}: found none of {', '.join(names)} in {places}; {reason}. Get it from {home} "
        f"and name its folder with --data-dir or ${ENVIRONMENT_VARIABLE}; --dataset synthetic needs no files"
    )
