"""What people type: follow, backfill, history, compare, and looking at data."""
