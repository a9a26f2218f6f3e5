"""What a connector has done to the files that are read-only to it (I2M-ENV-11)."""

from pathlib import Path

GUARDED = ("instances", "shared", ".env")


def snapshot(folder: Path) -> dict[str, int]:
    """Return when each guarded file and folder below a folder was changed last, by name.

    The time is that of the inode: it tells of new content, of another mode or owner, and, at a folder, of files that
    came and went. All of these fail on a read-only mount.
    """
    paths = [path for name in GUARDED for path in (folder / name, *sorted((folder / name).rglob("*")))]
    return {
        str(path.relative_to(folder)): path.lstat().st_ctime_ns for path in paths if path.is_symlink() or path.exists()
    }
