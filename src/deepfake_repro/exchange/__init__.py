"""Index and crops in the formats of other code bases, and back."""
