"""Where the system's Chromium is, for pictures of pages and for tests in a browser."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
"""Empty: it is not here."""
