"""Interactive pages: one HTML file with the network's weights, evaluated in the browser, and the target beside it.

The page needs no network access and no server: page.html with page.css, network.js (the forward pass), grid.js (values
at the points of the picture), picture.js (drawing) and page.js (words and controls) written into it, and the data as
JSON with arrays in base64.
"""

from approx.render._page import page, write_page

__all__ = ["page", "write_page"]
