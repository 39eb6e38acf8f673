"""The page at `/` of the status server: what the daemon does, in a browser, without anything from outside.

WebPage          which view answers which address
PagePictures     the pictures of datapoints, and those of streams
streams_view, budget_view, gallery_view, datapoint_view    the parts of the page, as HTML
"""

from __future__ import annotations

from framesift.page.pictures import PagePictures
from framesift.page.web_page import WebPage

__all__ = ["PagePictures", "WebPage"]
