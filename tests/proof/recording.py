"""What a disk would hold after a power cut: reads a recording of disk.so and builds the folder as it may be found.

Only what was synced is sure. Of the rest each write may have happened whole, in part (sectors of 512 octets) or not at all, and in
any order; a name that was created, renamed or removed may be the old or the new one until its folder has been synced."""
import random, struct
from pathlib import Path, PurePosixPath

WRITE, TRUNCATE, CREATE, RENAME, REMOVE, SYNC, SYNCED, FOLDER_SYNC, FOLDER_SYNCED, MKDIR, PROMISED, TAKEN = range(1, 13)
HEADER = struct.Struct("=IIQQ")
SECTOR = 512
WAYS = ("lost", "torn", "kept")


class Record:
    __slots__ = ("kind", "name", "offset", "data")

    def __init__(self, kind, name, offset, data):
        self.kind, self.name, self.offset, self.data = kind, name, offset, data


def read(path):
    """All records of a recording, in their order. A last one that was cut short is left out."""
    raw, at, records = Path(path).read_bytes(), 0, []
    while at + HEADER.size <= len(raw):
        kind, name, offset, length = HEADER.unpack_from(raw, at)
        at += HEADER.size
        if at + name + length > len(raw):
            break
        records.append(Record(kind, raw[at:at + name].decode(), offset, raw[at + name:at + name + length]))
        at += name + length
    return records


class File:
    def __init__(self):
        self.safe = bytearray()
        self.pending = []  # writes and truncations that no sync covers yet
        self.syncing = []

    def change(self, content, record):
        if record.kind == TRUNCATE:
            if record.offset < len(content):
                del content[record.offset:]
            else:
                content.extend(bytes(record.offset - len(content)))
        else:
            put(content, record.offset, record.data)

    def synced(self):
        count = self.syncing.pop(0) if self.syncing else len(self.pending)
        for record in self.pending[:count]:
            self.change(self.safe, record)
        del self.pending[:count]
        self.syncing = [max(0, other - count) for other in self.syncing]

    def found(self, way, chance):
        content = bytearray(self.safe)
        for record in self.pending if way != "lost" else ():
            if way == "kept" or (record.kind == TRUNCATE and chance.random() < 0.5):
                self.change(content, record)
            elif record.kind == WRITE:
                tear(content, record, chance)
        return bytes(content)


def put(content, offset, data):
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset:offset + len(data)] = data


def tear(content, record, chance):
    """Of one write: all, nothing, the first sectors, or some sectors."""
    sectors = range(0, len(record.data), SECTOR)
    how = chance.choice(("all", "nothing", "first", "some"))
    first = chance.randrange(len(sectors) + 1) * SECTOR
    for at in sectors:
        if how == "all" or (how == "first" and at < first) or (how == "some" and chance.random() < 0.5):
            put(content, record.offset + at, record.data[at:at + SECTOR])


class Disk:
    """The folder while a recording goes by."""

    def __init__(self):
        self.safe, self.names = {}, {}  # name → File, or None for a folder: after a power cut, and as the program sees it
        self.pending = []  # (folder, change of names)
        self.syncing = []

    def apply(self, record):
        name, parent = record.name, str(PurePosixPath(record.name).parent)
        if record.kind in (CREATE, MKDIR):
            self.rename(parent, {name: File() if record.kind == CREATE else None})
        elif record.kind == REMOVE:
            self.rename(parent, {name: "gone"})
        elif record.kind == RENAME:
            to = record.data.decode()
            self.rename(parent, {to: self.names.get(name), name: "gone"})
        elif record.kind in (WRITE, TRUNCATE):
            self.file(name).pending.append(record)
        elif record.kind == SYNC:
            file = self.file(name)
            file.syncing.append(len(file.pending))
        elif record.kind == SYNCED:
            self.file(name).synced()
        elif record.kind == FOLDER_SYNC:
            self.syncing.append((name, len(self.pending)))
        elif record.kind == FOLDER_SYNCED:
            self.folder_synced(name)

    def file(self, name):
        if self.names.get(name) is None:
            # It was there before the recording began, or was removed while open: nothing can be lost by that.
            self.names[name] = File()
        return self.names[name]

    def rename(self, parent, change):
        enact(self.names, change)
        self.pending.append((parent, change))

    def folder_synced(self, name):
        at = next(at for at, (folder, _) in enumerate(self.syncing) if folder == name)
        _, count = self.syncing.pop(at)
        rest = []
        for number, (folder, change) in enumerate(self.pending):
            if folder == name and number < count:
                enact(self.safe, change)
            else:
                rest.append((folder, change))
        gone = len(self.pending) - len(rest)
        self.syncing = [(folder, max(0, other - gone)) for folder, other in self.syncing]
        self.pending = rest

    def build(self, folder, way, chance):
        """Writes the folder as it may be found after a power cut now."""
        names = dict(self.safe)
        for _, change in self.pending if way != "lost" else ():
            if way == "kept" or chance.random() < 0.5:
                enact(names, change)
        folder = Path(folder)
        folder.mkdir(parents=True)
        for name, file in sorted(names.items()):
            path = folder / name
            if file is None:
                path.mkdir(exist_ok=True)
            elif path.parent.is_dir():
                path.write_bytes(file.found(way, chance))


def enact(names, change):
    for name, file in change.items():
        if isinstance(file, str):
            names.pop(name, None)
        else:
            names[name] = file
