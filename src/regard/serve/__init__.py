"""Models behind an HTTP interface: LibreTranslate's, OpenAI's, regard's own, and the page that shows attention."""
