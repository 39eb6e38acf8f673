"""ShrunkenFrame: what is kept of a refused frame until it is known whether the decision record shows it."""

from __future__ import annotations

from framesift.clock.clock import Clock
from framesift.frame import Frame, Pixels
from framesift.pictures.outgoing import NO_MASK, JpegEncodingError, Unmasked, encode_outgoing, scale_to_fit
from framesift.prediction.prediction import Prediction
from framesift.privacy.stream_privacy import PendingMask, StreamPrivacy

THUMBNAIL_SIZE = (160, 160)  # height, width at most
_SHRUNKEN_SIZE = (320, 320)  # of what is kept in memory: a single step to a twelfth would leave out most of a picture
_QUALITY = 60  # of most pictures one block of a disk, 4 KiB


class ShrunkenFrame:
    """A RefusedThumbnail: a small copy of a frame's pixels, which never leave it without their mask."""

    def __init__(self, pixels: Pixels, mask: PendingMask | None, clock: Clock, *, mask_by_s: float) -> None:
        """pixels: its own. mask: None where nothing must be covered; it waits until mask_by_s (clock.monotonic())."""
        self._pixels = pixels
        self._mask = mask
        self._clock = clock
        self._mask_by_s = mask_by_s

    @classmethod
    def of(
        cls, frame: Frame, prediction: Prediction, privacy: StreamPrivacy | None, clock: Clock
    ) -> ShrunkenFrame | None:
        """A frame that its privacy has observed; None if it can't be shown. In the thread of its stream.

        Where privacy has a detector, the whole picture is copied as well, for the detector to look at.
        """
        try:
            mask = None if privacy is None else privacy.prepare_thumbnail(frame, prediction)
            scaled = scale_to_fit(frame.picture, _SHRUNKEN_SIZE)
        except (Unmasked, ValueError):  # a ValueError: it can't be decoded, or only its size is known
            return None
        pixels = scaled.copy() if scaled is frame.picture else scaled
        by_s = clock.monotonic() + (0.0 if privacy is None else privacy.over_time_s)
        return cls(pixels, mask, clock, mask_by_s=by_s)

    @property
    def is_settled(self) -> bool:
        """See RefusedThumbnail."""
        return self._mask is None or self._mask.is_settled or self._clock.monotonic() >= self._mask_by_s

    def jpeg(self) -> bytes | None:
        """See RefusedThumbnail."""
        try:
            mask = NO_MASK if self._mask is None else self._mask.mask()
            return encode_outgoing(self._pixels, mask=mask, max_size=THUMBNAIL_SIZE, jpeg_quality=_QUALITY).content
        except (Unmasked, JpegEncodingError):
            return None
