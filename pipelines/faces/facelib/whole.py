"""Numbers of the data as a whole, for a gate to stop at and a page to show."""

from facelib.partitions import Row

Measured = dict[str, float]


def measure(clean: list[Row], rejected: int) -> Measured:
    """Numbers of the whole set: `clean` has a row for each aligned face, `rejected` photographs gave none."""
    kept = [row for row in clean if row["keep"]]
    duplicates = sum(row["reason"] in ("duplicate", "duplicate_identity") for row in clean)
    identities = len({row["identity"] for row in kept})
    photographs, faces = rejected + len(clean), max(len(clean), 1)
    return {
        "photographs": photographs,
        "reject_share": rejected / max(photographs, 1),
        "drop_share": (len(clean) - len(kept)) / faces,
        "duplicate_share": duplicates / faces,
        "faces": len(kept),
        "identities": identities,
        "faces_per_identity": len(kept) / max(identities, 1),
    }
