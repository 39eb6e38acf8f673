"""The frame header of a JPEG, and into how many units its scans are divided (ITU T.81, A.2)."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.pictures.picture_limits import BadPicture

BLOCK = 8  # width and height of a block, in samples
COEFFICIENTS = BLOCK * BLOCK
_PROGRESSIVE = 0xC2
_FEW_READ = "it is a JPEG of a kind that few programs read: 8 bits and 1, 3 or 4 components are allowed"


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What the header says. samplings: of each component by its id, how often it is sampled across and down."""

    width: int
    height: int
    samplings: dict[int, tuple[int, int]]
    is_progressive: bool

    @classmethod
    def parse(cls, code: int, data: bytes) -> JpegFrame:
        """Read the header. code: of its marker. Raises BadPicture."""
        if len(data) < 6 or data[0] != 8 or data[5] not in (1, 3, 4) or len(data) != 6 + 3 * data[5]:
            raise BadPicture(_FEW_READ)
        height, width = int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big")
        samplings = {data[at]: (data[at + 1] >> 4, data[at + 1] & 15) for at in range(6, len(data), 3)}
        if len(samplings) != data[5] or not all(1 <= times <= 4 for pair in samplings.values() for times in pair):
            raise BadPicture(_FEW_READ)
        return cls(width, height, samplings, code == _PROGRESSIVE)

    @property
    def most_samples(self) -> tuple[int, int]:
        """How often the finest component is sampled, across and down."""
        across, down = zip(*self.samplings.values(), strict=True)
        return max(across), max(down)

    def unit_size(self, components: list[int]) -> tuple[int, int]:
        """Width and height in pixels of a unit of a scan of these components, whatever lies beyond the edges."""
        most_across, most_down = self.most_samples
        if len(components) > 1:
            return BLOCK * most_across, BLOCK * most_down
        across, down = self.samplings[components[0]]
        return BLOCK * most_across // across, BLOCK * most_down // down

    def units(self, components: list[int]) -> tuple[int, int]:
        """How many units such a scan has, across and down."""
        most_across, most_down = self.most_samples
        if len(components) > 1:
            return -(-self.width // (BLOCK * most_across)), -(-self.height // (BLOCK * most_down))
        across, down = self.samplings[components[0]]
        columns, rows = -(-self.width * across // most_across), -(-self.height * down // most_down)
        return -(-columns // BLOCK), -(-rows // BLOCK)

    def components_of(self, scan: bytes) -> list[int]:
        """The ids of a scan's components. scan: the data of its header. Raises BadPicture."""
        count = scan[0] if scan else 0
        ids = list(scan[1 : 1 + 2 * count : 2])
        if not ids or len(scan) != 4 + 2 * count or not set(ids) <= self.samplings.keys():
            raise BadPicture("it has a scan of components that it does not have")
        return ids
