"""Parts of a scored file's page: its templates, drawings and pictures of faces."""
