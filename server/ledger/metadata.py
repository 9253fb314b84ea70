"""A condition on the metadata of specs, which are kept as JSON."""


def has_metadata(spec: str) -> str:
    """Return an SQL condition that takes a key and a value: the metadata of the specs in this column has them.

    Numbers and truth values are as JSON writes them. No index fits every key that clients may use; a search of 20,000 specs
    takes about as long as one for a word.
    """
    return (
        f"EXISTS (SELECT 1 FROM json_each({spec}, '$.metadata') AS field WHERE field.key = ?"
        " AND CASE WHEN field.type IN ('true', 'false') THEN field.type ELSE CAST(field.atom AS TEXT) END = ?)"
    )
