"""What a reviewer reads: tables, figures, ledgers, cards and one page of all of it (Section 5)."""
