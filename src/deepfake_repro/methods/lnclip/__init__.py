"""methods/lnclip."""
