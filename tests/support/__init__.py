"""What several test modules use: browsers, media files, a running server, captured session descriptions."""
